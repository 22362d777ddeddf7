// Runs in every page of the site that tests/browser.py shows, and reports what became of it.
addEventListener("load", async () => {
  const wait = ms => new Promise(done => setTimeout(done, ms));
  const until = async test => { for (let i = 0; i < 200 && !test(); i++) await wait(25); return test(); };
  const named = one => `${one.tagName.toLowerCase()}.${one.className} ${(one.textContent || "").trim().slice(0, 40)}`;

  // --- what is heard
  const audio = [];
  for (const player of document.querySelectorAll("audio")) {
    player.muted = true;
    await until(() => player.readyState >= 1);
    const start = player.currentTime;
    await player.play().catch(error => audio.error = String(error));
    await until(() => player.currentTime > 0.2);
    player.pause();
    audio.push({source: player.getAttribute("src"), duration: player.duration, moved: player.currentTime - start});
  }

  // --- players: play, then switch to each version; it must go on where the one before was
  const switches = [];
  for (const figure of document.querySelectorAll(".player")) {
    const versions = [...figure.querySelectorAll("audio")];
    const buttons = [...figure.querySelectorAll(".player-choices button")];
    for (const version of versions) version.currentTime = 0;
    buttons[0].click();
    versions[0].currentTime = 1;
    figure.querySelector(".player-play").click();
    await until(() => versions[0].currentTime > 1.2);
    for (let i = 1; i < buttons.length; i++) {
      const left = versions[i - 1].currentTime;
      buttons[i].click();
      await until(() => versions[i].currentTime > left && versions[i - 1].paused);
      switches.push({
        left,
        entered: versions[i].currentTime,
        playing: versions.filter(version => !version.paused).length,
        shown: [...figure.querySelectorAll(".player-version")].filter(part => part.checkVisibility()).length,
        pressed: buttons.filter(button => button.getAttribute("aria-pressed") === "true").length,
      });
    }
    figure.querySelector(".player-play").click();
    await until(() => versions.every(version => version.paused));
  }

  // --- what is seen
  const images = [...document.images].map(image => [image.getAttribute("src"), image.naturalWidth]);
  const untold = [...document.images].filter(image => !image.getAttribute("alt")?.trim()).map(named);
  untold.push(...[...document.querySelectorAll("svg[role=img]:not([aria-label])")].map(named));

  const overflow = document.documentElement.scrollWidth - innerWidth;
  // Tables of figures may scroll by themselves.
  const scrolls = one => one.closest(".md-typeset__scrollwrap") !== null;
  const inside = [...document.querySelectorAll("main .md-content *, header *, .md-footer *")];
  const wide = [], cut = [];
  for (const one of inside) {
    if (!one.checkVisibility({opacityProperty: true, visibilityProperty: true}) || scrolls(one)) continue;
    const box = one.getBoundingClientRect();
    if (box.width && box.right > innerWidth + 1) wide.push(named(one));
    const style = getComputedStyle(one);
    const clips = style.overflowX !== "visible" && style.display !== "inline";
    if (clips && one.clientWidth > 1 && one.scrollWidth > one.clientWidth + 1 && one.closest(".md-content")) cut.push(named(one));
  }

  // --- contrast, by the formula of WCAG 2, in both color schemes
  const color = text => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    return {rgb: numbers.slice(0, 3), alpha: numbers.length > 3 ? numbers[3] : 1};
  };
  const over = (top, alpha, below) => top.map((value, i) => alpha * value + (1 - alpha) * below[i]);
  const background = one => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) layers.push(color(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer.rgb, layer.alpha, below), [255, 255, 255]);
  };
  const luminance = rgb => {
    const [r, g, b] = rgb.map(v => v / 255).map(v => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = scheme => {
    const found = new Map();
    for (const one of document.querySelectorAll("body *")) {
      if (![...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
      if (!one.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
      const box = one.getBoundingClientRect();
      if (box.width < 2 || box.right < 0 || box.left > innerWidth) continue;
      const style = getComputedStyle(one);
      const below = background(one);
      const ink = color(style.color);
      const [light, dark] = [luminance(over(ink.rgb, ink.alpha, below)), luminance(below)].sort((a, b) => b - a);
      const ratio = (light + 0.05) / (dark + 0.05);
      const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      if (ratio < (large ? 3 : 4.5)) found.set(`${scheme}: ${one.tagName}.${one.className}`, `${ratio.toFixed(2)} ${named(one)}`);
    }
    return [...found].slice(0, 20).map(([place, what]) => `${place}: ${what}`);
  };
  const pale = faint("default");
  if (document.body.dataset.mdColorScheme) {
    const still = document.createElement("style");
    still.textContent = "* { transition: none !important; }";
    document.head.append(still);
    document.body.dataset.mdColorScheme = "slate";
    await wait(50);
    pale.push(...faint("slate"));
  }

  const report = {page: location.pathname, width: innerWidth, audio, switches, images, untold, overflow, wide, cut, pale};
  await fetch("/report", {method: "POST", body: JSON.stringify(report)});
});
