/* Players of one recording in several versions: the switch keeps the position.

   Without this script each version is an audio element of its own, with its own controls. With it, one play button and
   one slider serve all versions, a button each chooses what is heard, and the spectrogram follows.
*/
"use strict";

(() => {
  const clock = seconds => {
    const whole = Math.floor(seconds || 0);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  };

  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  const stopOthers = figure => {
    for (const other of document.querySelectorAll(".player audio"))
      if (!figure.contains(other)) other.pause();
  };

  const equip = figure => {
    const versions = [...figure.querySelectorAll(".player-version")].map(part => ({
      part,
      name: part.dataset.name,
      audio: part.querySelector("audio"),
    }));
    let heard = versions[0];

    const play = element("button", {type: "button", className: "player-play"}, "Play");
    const place = element("input", {type: "range", min: 0, max: 1, step: 0.01, value: 0});
    place.setAttribute("aria-label", "Position");
    const time = element("span", {className: "player-time"}, "0:00");
    const choices = element("div", {className: "player-choices"});
    choices.setAttribute("role", "group");
    choices.setAttribute("aria-label", "What you hear");

    const length = () => heard.audio.duration || Number(figure.dataset.seconds);

    const show = () => {
      const now = heard.audio.currentTime;
      place.max = length();
      place.value = now;
      time.textContent = `${clock(now)} / ${clock(length())}`;
      play.textContent = heard.audio.paused ? "Play" : "Pause";
      figure.style.setProperty("--player-place", now / length());
    };

    // Audio tells its place four times a second; the line over the picture moves with every frame.
    const follow = () => {
      show();
      if (!heard.audio.paused) requestAnimationFrame(follow);
    };

    const choose = version => {
      const before = heard;
      const playing = !before.audio.paused;
      heard = version;
      if (before !== version) {
        version.audio.currentTime = before.audio.currentTime;
        if (playing) version.audio.play();
        before.audio.pause();
      }
      for (const one of versions) {
        one.part.hidden = one !== version;
        one.button.setAttribute("aria-pressed", String(one === version));
      }
      show();
    };

    for (const version of versions) {
      version.audio.controls = false;
      version.audio.preload = "auto";
      version.part.querySelector(".player-name").hidden = true;
      version.button = element("button", {type: "button", onclick: () => choose(version)}, version.name);
      choices.append(version.button);
      version.audio.addEventListener("play", () => { stopOthers(figure); follow(); });
      for (const event of ["pause", "ended", "loadedmetadata", "seeked"])
        version.audio.addEventListener(event, () => { if (heard === version) show(); });
    }

    play.onclick = () => (heard.audio.paused ? heard.audio.play() : heard.audio.pause());
    place.oninput = () => { heard.audio.currentTime = Number(place.value); show(); };
    figure.querySelector(".player-versions").onclick = event => {
      const box = event.currentTarget.getBoundingClientRect();
      heard.audio.currentTime = length() * (event.clientX - box.left) / box.width;
    };

    figure.querySelector(".player-versions").before(choices);
    figure.querySelector(".player-versions").after(element("div", {className: "player-controls"}, play, place, time));
    figure.classList.add("player-ready");
    choose(heard);
  };

  // One that a page makes later says so by an event
  document.addEventListener("player", event => equip(event.target));
  const start = () => document.querySelectorAll(".player").forEach(equip);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
