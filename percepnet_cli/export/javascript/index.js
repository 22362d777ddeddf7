/* Removes noise from speech, in a browser or anywhere else that runs WebAssembly. index.d.ts says what there is. */

import { checkLimit, HOP, SAMPLE_RATE, Stream } from "./stream.js";

export { HOP, SAMPLE_RATE };

/** Samples after which denoise() lets the page breathe. */
const TURN = 100 * HOP;

export async function load(source = new URL("percepnet.wasm", import.meta.url)) {
  if (source instanceof WebAssembly.Module) return await Percepnet.from(source);
  if (typeof source === "string" || source instanceof URL) source = await fetch(source);
  if (typeof Response === "function" && source instanceof Response) {
    if (!source.ok) throw new Error(`${source.url}: ${source.status} ${source.statusText}`);
    source = await source.arrayBuffer();
  }
  return await Percepnet.from(await WebAssembly.compile(source));
}

class Percepnet {
  #module;
  #wasm;
  #worklets = new WeakMap();

  static async from(module) {
    const made = new Percepnet();
    made.#module = module;
    made.#wasm = (await WebAssembly.instantiate(module)).exports;
    return made;
  }

  createStream(options) {
    return new Stream(this.#wasm, options);
  }

  async denoise(samples, { sampleRate = SAMPLE_RATE, onProgress, signal, ...options } = {}) {
    const input = await resample(samples, sampleRate, SAMPLE_RATE);
    const output = new Float32Array(input.length);
    const stream = this.createStream({ ...options, wholeHops: true });
    const latency = stream.latency;
    try {
      // Behind the recording comes silence, until all of it has come out
      const total = Math.ceil((input.length + latency) / HOP) * HOP;
      const block = new Float32Array(TURN);
      for (let start = 0; start < total; start += TURN) {
        signal?.throwIfAborted();
        const part = block.subarray(0, Math.min(TURN, total - start));
        part.fill(0);
        part.set(input.subarray(start, start + part.length));
        stream.processInto(part, part);

        // What lies before the first sample is left out
        const first = Math.max(0, latency - start);
        const place = start + first - latency;
        if (first < part.length && place < output.length)
          output.set(part.subarray(first, Math.min(part.length, first + output.length - place)), place);
        onProgress?.(Math.min(1, (start + part.length) / total));
        await breathe();
      }
    } finally {
      stream.close();
    }
    const result = await resample(output, SAMPLE_RATE, sampleRate);
    return result.length === samples.length ? result : fitted(result, samples.length);
  }

  async createWorkletNode(context, options = {}) {
    if (context.sampleRate !== SAMPLE_RATE)
      throw new RangeError(`the audio context has ${context.sampleRate} Hz; make it with {sampleRate: ${SAMPLE_RATE}}`);
    if (!this.#worklets.has(context)) {
      const added = context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
      this.#worklets.set(context, added);
    }
    await this.#worklets.get(context);

    // A stream here says the latency, and runs until the browser has made its fastest code: the audio thread shares it
    const stream = this.createStream(options);
    const { latency } = stream;
    stream.process(new Float32Array(TURN));
    stream.close();

    const node = new AudioWorkletNode(context, "percepnet", {
      numberOfInputs: 1,
      numberOfOutputs: 1,
      outputChannelCount: [1],
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { module: this.#module, options },
    });
    return Object.assign(node, {
      latency,
      setAttenuationLimit: (db) => {
        checkLimit(db);
        node.port.postMessage({ attenuationLimitDb: db });
      },
      setPostFilter: (share) => node.port.postMessage({ postFilter: share }),
      reset: () => node.port.postMessage({ reset: true }),
      close: () => {
        node.disconnect();
        node.port.postMessage({ close: true });
      },
    });
  }
}

/** Return after the events that wait were heard; timers would wait for 4 ms. */
function breathe() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

function fitted(samples, length) {
  const result = new Float32Array(length);
  result.set(samples.subarray(0, length));
  return result;
}

/* The browser resamples well what it decodes, so it gets a WAV file. */
async function resample(samples, from, to) {
  if (from === to || samples.length === 0) return samples;
  if (typeof OfflineAudioContext !== "function")
    throw new RangeError(`${from} Hz: without a browser there is no resampler; give samples at ${SAMPLE_RATE} Hz`);
  const wav = await encodeWav([samples], from).arrayBuffer();
  const decoded = await new OfflineAudioContext(1, 1, to).decodeAudioData(wav);
  return fitted(decoded.getChannelData(0), Math.round((samples.length * to) / from));
}

export function encodeWav(channels, sampleRate) {
  const [bytes, frames] = [Float32Array.BYTES_PER_ELEMENT, channels[0].length];
  const size = frames * channels.length * bytes;
  const view = new DataView(new ArrayBuffer(44 + size));
  const text = (place, letters) => [...letters].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));

  // 32-bit floats, format 3: nothing is rounded or clipped
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 3, true);
  view.setUint16(22, channels.length, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * channels.length * bytes, true);
  view.setUint16(32, channels.length * bytes, true);
  view.setUint16(34, 8 * bytes, true);
  text(36, "data");
  view.setUint32(40, size, true);
  let place = 44;
  for (let frame = 0; frame < frames; frame++)
    for (const channel of channels) {
      view.setFloat32(place, channel[frame], true);
      place += bytes;
    }
  return new Blob([view.buffer], { type: "audio/wav" });
}
