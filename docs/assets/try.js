/* The page "Try it here": a file, the example or the microphone through the denoiser, and the player for both sounds. */

import { encodeWav, load, SAMPLE_RATE } from "./percepnet/index.js";

const tool = document.getElementById("try");
const [fileInput, example, microphone, live, limit, status, bar, result] = [
  "file", "example", "microphone", "live", "limit", "status", "bar", "result",
].map((name) => tool.querySelector(`.try-${name}`));

/* --- the denoiser, fetched when it is first needed */

let loading;
const percepnet = () => (loading ??= load().catch((error) => { loading = undefined; throw error; }));
const options = () => ({ attenuationLimitDb: limit.value === "" ? null : Number(limit.value) });

/* --- spectrograms */

const [WIDTH, HEIGHT, SIZE, HIGHEST_HZ] = [770, 220, 1024, 16000];
const [LOWEST_DB, HIGHEST_DB] = [-90, -10];
const COLORS = [
  [0, 0, 4], [29, 17, 71], [81, 18, 124], [131, 38, 129], [183, 55, 121],
  [231, 82, 99], [252, 137, 97], [254, 196, 136], [252, 253, 191],
]; // of matplotlib's magma, evenly

const window_ = Float32Array.from({ length: SIZE }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / SIZE));
const cosines = Float64Array.from({ length: SIZE / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / SIZE));
const sines = Float64Array.from({ length: SIZE / 2 }, (_, k) => Math.sin((2 * Math.PI * k) / SIZE));

/* Fourier transform in place: the halves of ever longer parts are put together. */
const transform = (re, im) => {
  for (let i = 0, j = 0; i < SIZE; i++) {
    if (i < j) [re[i], re[j], im[i], im[j]] = [re[j], re[i], im[j], im[i]];
    let bit = SIZE >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
  }
  for (let half = 1; half < SIZE; half *= 2) {
    const step = SIZE / (2 * half);
    for (let start = 0; start < SIZE; start += 2 * half)
      for (let k = 0; k < half; k++) {
        const [c, s, a, b] = [cosines[k * step], sines[k * step], start + k, start + k + half];
        const [x, y] = [re[b] * c + im[b] * s, im[b] * c - re[b] * s];
        [re[b], im[b]] = [re[a] - x, im[a] - y];
        re[a] += x;
        im[a] += y;
      }
  }
};

/* Power of up to four windows of a column's samples, in full-scale sines. */
const column = (samples, first, length, power) => {
  const windows = Math.min(4, Math.max(1, Math.floor(length / (SIZE / 2))));
  const [re, im] = [new Float64Array(SIZE), new Float64Array(SIZE)];
  power.fill(0);
  for (let i = 0; i < windows; i++) {
    const start = Math.round(first + ((i + 0.5) * length) / windows - SIZE / 2);
    for (let n = 0; n < SIZE; n++) re[n] = window_[n] * (samples[start + n] ?? 0);
    im.fill(0);
    transform(re, im);
    for (let k = 0; k < power.length; k++) power[k] += (re[k] ** 2 + im[k] ** 2) / ((SIZE / 4) ** 2 * windows);
  }
};

const color = (db) => {
  const place = Math.max(0, Math.min(1, (db - LOWEST_DB) / (HIGHEST_DB - LOWEST_DB))) * (COLORS.length - 1);
  const low = Math.min(COLORS.length - 2, Math.floor(place));
  return COLORS[low].map((value, i) => value + (place - low) * (COLORS[low + 1][i] - value));
};

const picture = (samples) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  const image = context.createImageData(WIDTH, HEIGHT);
  const perHz = SIZE / SAMPLE_RATE;
  const power = new Float64Array(Math.ceil(HIGHEST_HZ * perHz) + 1);
  for (let x = 0; x < WIDTH; x++) {
    column(samples, (x * samples.length) / WIDTH, samples.length / WIDTH, power);
    for (let y = 0; y < HEIGHT; y++) {
      // The loudest of the bins that a pixel covers
      const bin = (pixels) => Math.floor(((HEIGHT - pixels) / HEIGHT) * HIGHEST_HZ * perHz);
      const loudest = Math.max(...power.subarray(bin(y + 1), Math.max(bin(y), bin(y + 1) + 1)));
      image.data.set([...color(10 * Math.log10(loudest + 1e-14)), 255], 4 * (y * WIDTH + x));
    }
  }
  context.putImageData(image, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve));
};

/* --- what is heard: the player of the listening page (player.js) */

const element = (name, properties, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

let addresses = [];
const address = (blob) => {
  addresses.push(URL.createObjectURL(blob));
  return addresses.at(-1);
};

const show = async (name, before, after) => {
  for (const old of addresses.splice(0)) URL.revokeObjectURL(old);
  const seconds = before.length / SAMPLE_RATE;
  const versions = element("div", { className: "player-versions" });
  for (const [title, samples] of Object.entries({ before, after })) {
    const alt = `Spectrogram, 0 to 16 kHz: ${name}, ${title}`;
    const src = address(encodeWav([samples], SAMPLE_RATE));
    const part = element("div", { className: "player-version" });
    part.dataset.name = title;
    part.append(
      element("span", { className: "player-name" }, title),
      element("img", { src: address(await picture(samples)), alt, width: WIDTH, height: HEIGHT }),
      element("audio", { src, ariaLabel: title }),
    );
    versions.append(part);
  }
  const download = element("a", {
    className: "md-button try-download",
    href: versions.querySelectorAll("audio")[1].src,
    download: `${name.replace(/\.[^.]*$/, "")}-denoised.wav`,
  }, "Download the result (WAV)");
  const figure = element("figure", { className: "player" }, element("figcaption", {}, element("b", {}, name)), versions);
  figure.dataset.seconds = seconds;
  result.replaceChildren(figure, element("p", {}, download));
  figure.dispatchEvent(new Event("player", { bubbles: true }));
};

/* --- what is done */

let work; // the newest recording: its name and samples, and what stops the denoiser

const say = (text) => { status.textContent = text; };

const denoise = async (name, samples) => {
  work?.stop.abort();
  const mine = (work = { name, samples, stop: new AbortController() });
  try {
    if (!samples.length) throw new Error("there is no sound in it");
    say(`${name}: denoising ...`);
    bar.hidden = false;
    const denoiser = await percepnet();
    const began = performance.now();
    const onProgress = (share) => { if (work === mine) bar.value = share; };
    const clean = await denoiser.denoise(samples, { ...options(), onProgress, signal: mine.stop.signal });
    const [took, seconds] = [(performance.now() - began) / 1000, samples.length / SAMPLE_RATE];
    await show(name, samples, clean);
    say(`${seconds.toFixed(1)} s of sound in ${took.toFixed(1)} s.`);
  } catch (error) {
    if (work === mine) say(`${name}: ${error.message}`);
  } finally {
    if (work === mine) bar.hidden = true;
  }
};

const decode = async (name, bytes) => {
  say(`${name}: reading ...`);
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, SAMPLE_RATE).decodeAudioData(bytes);
  } catch {
    say(`${name}: this browser finds no sound that it can read in it`);
    return;
  }
  const mono = new Float32Array(sound.length);
  for (let c = 0; c < sound.numberOfChannels; c++) {
    const channel = sound.getChannelData(c);
    for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / sound.numberOfChannels;
  }
  await denoise(name, mono);
};

fileInput.onchange = async () => {
  const [file] = fileInput.files;
  if (file) await decode(file.name, await file.arrayBuffer());
  fileInput.value = "";
};
example.onclick = async () => decode("street", await (await fetch(example.dataset.address)).arrayBuffer());
limit.onchange = () => {
  recording?.node.setAttenuationLimit(options().attenuationLimitDb);
  if (work) denoise(work.name, work.samples);
};

for (const event of ["dragenter", "dragover"])
  tool.addEventListener(event, (drag) => { drag.preventDefault(); tool.classList.add("try-over"); });
for (const event of ["dragleave", "drop"]) tool.addEventListener(event, () => tool.classList.remove("try-over"));
tool.addEventListener("drop", async (drop) => {
  drop.preventDefault();
  const [file] = drop.dataTransfer.files;
  if (file) await decode(file.name, await file.arrayBuffer());
});

/* --- microphone */

let recording;

const record = async () => {
  const audio = { noiseSuppression: false, echoCancellation: false, autoGainControl: false, channelCount: 1 };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const context = new AudioContext({ sampleRate: SAMPLE_RATE });
  try {
    await context.audioWorklet.addModule(new URL("try-recorder.js", import.meta.url));
    const [source, recorder] = [context.createMediaStreamSource(stream), new AudioWorkletNode(context, "try-recorder")];
    const node = await (await percepnet()).createWorkletNode(context, options());
    const volume = new GainNode(context, { gain: live.checked ? 1 : 0 });
    const blocks = [];
    recorder.port.onmessage = ({ data }) => {
      blocks.push(data);
      say(`Recording: ${Math.floor((blocks.length * data.length) / SAMPLE_RATE)} s`);
    };
    source.connect(recorder).connect(new GainNode(context, { gain: 0 })).connect(context.destination);
    source.connect(node).connect(volume).connect(context.destination);
    await context.resume();
    return { stream, context, node, volume, blocks };
  } catch (error) {
    await release(stream, context);
    throw error;
  }
};

const release = async (stream, context) => {
  for (const track of stream.getTracks()) track.stop();
  await context.close();
};

microphone.onclick = async () => {
  microphone.disabled = true;
  try {
    if (recording) {
      const { stream, context, blocks } = recording;
      recording = undefined;
      microphone.textContent = "Record the microphone";
      await release(stream, context);
      const samples = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0));
      blocks.reduce((place, block) => { samples.set(block, place); return place + block.length; }, 0);
      denoise("microphone", samples);
    } else {
      recording = await record();
      microphone.textContent = "Stop";
    }
  } catch (error) {
    say(`The microphone: ${error.message}`);
  } finally {
    microphone.disabled = false;
  }
};
live.onchange = () => { if (recording) recording.volume.gain.value = live.checked ? 1 : 0; };

document.getElementById("try-note").hidden = true;
tool.hidden = false;
