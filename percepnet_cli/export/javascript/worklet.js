/* The denoiser in the audio thread; index.js starts it. */

import { Stream } from "./stream.js";

class PercepnetProcessor extends AudioWorkletProcessor {
  constructor({ processorOptions: { module, options } }) {
    super();
    this.stream = new Stream(new WebAssembly.Instance(module).exports, options);
    this.silence = new Float32Array(0);
    this.closed = false;
    this.port.onmessage = ({ data }) => {
      if ("attenuationLimitDb" in data) this.stream.setAttenuationLimit(data.attenuationLimitDb);
      if ("postFilter" in data) this.stream.setPostFilter(data.postFilter);
      if (data.reset) this.stream.reset();
      if (data.close) this.closed = true;
    };
  }

  process([input], [[output]]) {
    if (this.closed) return false;

    // An input that nothing is connected to has no channel: silence goes on
    if (this.silence.length !== output.length) this.silence = new Float32Array(output.length);
    this.stream.processInto(input[0] ?? this.silence, output);
    return true;
  }
}

registerProcessor("percepnet", PercepnetProcessor);
