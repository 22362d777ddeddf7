/* One stream of samples through percepnet.wasm: for index.js and, in the audio thread, for worklet.js. */

export const SAMPLE_RATE = 48000;

/** Samples that are processed at once: 10 ms. */
export const HOP = 480;

/** Samples that cross to WebAssembly at once, at most: whole hops. */
const ROOM = 10 * HOP;

/** Throw unless it is an attenuation limit: decibels, or null for none. */
export function checkLimit(db) {
  if (db !== null && !(db >= 0)) throw new RangeError("an attenuation limit is a number of decibels, 0 or more");
}

export class Stream {
  #wasm;
  #stream;
  #place;
  #view;

  /** wasm: the exports of an instance; options: see index.d.ts. */
  constructor(wasm, { attenuationLimitDb = null, postFilter = null, wholeHops = false } = {}) {
    checkLimit(attenuationLimitDb);
    this.#wasm = wasm;
    this.#stream = wasm.percepnet_create();
    this.#place = wasm.malloc(ROOM * Float32Array.BYTES_PER_ELEMENT);
    if (!this.#stream || !this.#place) throw new RangeError("there is no memory for another stream");
    if (wholeHops) wasm.percepnet_set_fixed_blocks(this.#stream, 1);
    this.setAttenuationLimit(attenuationLimitDb);
    if (postFilter !== null) this.setPostFilter(postFilter);
  }

  /* What #place points to. Memory that grows is another buffer. */
  get #samples() {
    if (this.#view?.buffer !== this.#wasm.memory.buffer)
      this.#view = new Float32Array(this.#wasm.memory.buffer, this.#place, ROOM);
    return this.#view;
  }

  get #open() {
    if (!this.#stream) throw new Error("the stream is closed");
    return this.#stream;
  }

  get latency() {
    return this.#wasm.percepnet_latency(this.#open);
  }

  process(samples) {
    const output = new Float32Array(samples.length);
    this.processInto(samples, output);
    return output;
  }

  processInto(input, output) {
    if (output.length < input.length) throw new RangeError("the output is shorter than the input");
    const stream = this.#open;
    for (let start = 0; start < input.length; start += ROOM) {
      const length = Math.min(ROOM, input.length - start);
      const whole = length === input.length;
      this.#samples.set(whole ? input : input.subarray(start, start + length));
      this.#wasm.percepnet_process(stream, this.#place, this.#place, length);

      // One by one where it is little: a view would be an object more for every quantum of the audio thread
      const samples = this.#samples;
      if (length <= HOP) for (let i = 0; i < length; i++) output[start + i] = samples[i];
      else output.set(samples.subarray(0, length), start);
    }
  }

  flush() {
    const end = new Float32Array(this.latency);
    this.#wasm.percepnet_flush(this.#open, this.#place);
    end.set(this.#samples.subarray(0, end.length));
    return end;
  }

  reset() {
    this.#wasm.percepnet_reset(this.#open);
  }

  setAttenuationLimit(db) {
    checkLimit(db);
    this.#wasm.percepnet_set_attenuation_limit(this.#open, db ?? -1);
  }

  setPostFilter(share) {
    this.#wasm.percepnet_set_post_filter(this.#open, Number(share));
  }

  close() {
    if (!this.#stream) return;
    this.#wasm.percepnet_destroy(this.#stream);
    this.#wasm.free(this.#place);
    this.#stream = 0;
  }
}
