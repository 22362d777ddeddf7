/** Removes noise from speech: 48 kHz, mono, samples with full scale -1..1. */

/** Samples per second that the denoiser works at. */
export const SAMPLE_RATE: 48000;

/** Samples that are processed at once: 10 ms. */
export const HOP: 480;

export interface Options {
  /** Take noise down by at most so many decibels, 0 or more; null, the default, is no limit. */
  attenuationLimitDb?: number | null;
  /**
   * Push down what the network left in noisy bands: true or 1 all the way, a smaller number less, false or 0 not. null,
   * the default, is what the model asks for.
   */
  postFilter?: boolean | number | null;
}

export interface StreamOptions extends Options {
  /** Every block has a multiple of 480 samples: then the latency is 1440 samples, else 1920. Default: false. */
  wholeHops?: boolean;
}

export interface DenoiseOptions extends Options {
  /** Of the samples; other rates than 48000, the default, need a browser, which resamples there and back. */
  sampleRate?: number;
  /** Called with the share that is done, up to 1. */
  onProgress?: (share: number) => void;
  /** Stops the work: the promise is rejected with its reason. */
  signal?: AbortSignal;
}

/** A stream that goes on from block to block. Streams share nothing that changes. */
export interface Stream {
  /** Samples by which the output is behind the input. */
  readonly latency: number;
  /** Denoise a block of any size: as many samples come out. */
  process(samples: Float32Array): Float32Array;
  /** The same without a new array; both may be the same. */
  processInto(input: Float32Array, output: Float32Array): void;
  /** Return the end of the stream, `latency` samples, and begin a new one. */
  flush(): Float32Array;
  /** Forget the stream: what follows is a new one. */
  reset(): void;
  setAttenuationLimit(db: number | null): void;
  setPostFilter(share: boolean | number): void;
  /** Free its memory. */
  close(): void;
}

/** A node of an audio graph: one channel in, one out; more channels are mixed to one. */
export interface PercepnetNode extends AudioWorkletNode {
  /** Samples by which the output is behind the input. */
  readonly latency: number;
  setAttenuationLimit(db: number | null): void;
  setPostFilter(share: boolean | number): void;
  reset(): void;
  /** Disconnect it and free its memory. */
  close(): void;
}

export interface Percepnet {
  /** Denoise a recording: as many samples come out, in the same places. The page stays alive meanwhile. */
  denoise(samples: Float32Array, options?: DenoiseOptions): Promise<Float32Array>;
  createStream(options?: StreamOptions): Stream;
  /** Make a node. The context has to be made with {sampleRate: 48000}, or a RangeError is thrown. */
  createWorkletNode(context: BaseAudioContext, options?: Options): Promise<PercepnetNode>;
}

/**
 * Load the denoiser and its weights.
 *
 * source: an address, an answer to fetch(), the bytes or the compiled module; the default is percepnet.wasm beside this
 * file. Outside browsers give bytes.
 */
export function load(source?: string | URL | Response | BufferSource | WebAssembly.Module): Promise<Percepnet>;

/** Return a WAV file of 32-bit floats. channels: arrays of the same length. */
export function encodeWav(channels: Float32Array[], sampleRate: number): Blob;
