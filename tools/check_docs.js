// What a page looks like once it is shown: everything that tools/check_docs.py judges.
() => {
  const all = (css, root = document) => [...root.querySelectorAll(css)];
  const numbers = (c) => { const n = (c.match(/[\d.]+/g) || []).map(Number); return c.startsWith("color(") ? [...n.slice(0, 3).map((x) => 255 * x), n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, under) => [0, 1, 2].map((k) => top[3] * top[k] + (1 - top[3]) * under[k]);
  const light = (c) => { const [r, g, b] = c.map((x) => ((x /= 255) <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4)); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = (el) => el ? over(numbers(getComputedStyle(el).backgroundColor), behind(el.parentElement)) : [255, 255, 255];
  const opacity = (el) => el ? +getComputedStyle(el).opacity * opacity(el.parentElement) : 1;

  const faint = new Set();  // text below WCAG AA: 4.5, or 3 where it is large
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const el = walk.currentNode.parentElement, text = walk.currentNode.data.trim(), box = el.getBoundingClientRect();
    if (!text || !box.width || box.width <= 1 || el.closest("script, style, noscript, option, .katex-mathml, [aria-hidden=true]:not(.katex-html)") || !el.checkVisibility({ visibilityProperty: true })) continue;
    const s = getComputedStyle(el), bg = behind(el), ink = numbers(s.color);
    const fg = over([...ink.slice(0, 3), ink[3] * opacity(el)], bg), [hi, lo] = [light(fg), light(bg)].sort((a, b) => b - a);
    const ratio = (hi + .05) / (lo + .05), size = parseFloat(s.fontSize), large = size >= 24 || (size >= 18.66 && +s.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5) - .01) faint.add(`${el.tagName.toLowerCase()}.${el.className} "${text.slice(0, 24)}" has ${ratio.toFixed(1)}`);
  }

  const colours = (img) => {  // does the picture hold more than one?
    const c = Object.assign(document.createElement("canvas"), { width: img.naturalWidth, height: img.naturalHeight }), x = c.getContext("2d");
    x.drawImage(img, 0, 0);
    try {
      const p = new Uint32Array(x.getImageData(0, 0, c.width, c.height).data.buffer);
      return p.some((v) => v !== p[0]);
    } catch (e) { return true; }  // a file beside a page on the disk must not be read; the server's visit judges it
  };
  const scrolls = (el) => el && (/auto|scroll/.test(getComputedStyle(el).overflowX) || scrolls(el.parentElement));
  const beyond = (el) => { const r = el.getBoundingClientRect(); return r.width > 1 && r.right > innerWidth + 1 && !el.closest(".katex-mathml, svg") && !scrolls(el.parentElement); };
  const name = (i) => i.alt || i.getAttribute("src").slice(0, 40);
  const imgs = all("main img").filter((i) => !/^https?:/.test(i.getAttribute("src")));  // not the badges of other sites
  const words = document.querySelector("main").cloneNode(true);
  all(".katex, .katex-display, pre, code, script, style", words).forEach((e) => e.remove());
  return {
    faint: [...faint],
    formulas: all(".katex").length,
    unrendered: [...all(".katex-error").map((e) => e.textContent), ...(words.textContent.match(/.{0,20}(\$\$|\\begin\{|:::|\\\(|\\\[).{0,20}/g) || [])],
    undecoded: imgs.filter((i) => !i.complete || !i.naturalWidth).map(name),
    blank: imgs.filter((i) => i.naturalWidth && !colours(i)).map(name),
    unnamed: all("img, svg[role=img], canvas").filter((i) => !(i.alt || i.getAttribute("aria-label") || "").trim()).map(name),
    links: all("a[href]").map((a) => a.href),
    background: getComputedStyle(document.body).backgroundColor,
    cut: all("main *").filter(beyond).map((e) => `${e.tagName.toLowerCase()}.${e.className} "${e.textContent.trim().slice(0, 30)}"`),
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    shift: window.layoutShift || 0,
  };
}
