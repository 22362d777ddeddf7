/* In the audio thread: hand each block that comes in to the page. */
registerProcessor("try-recorder", class extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) this.port.postMessage(samples);
    return true;
  }
});
