// What a page looks like once it is shown: everything that tools/check_docs.py judges.
() => {
  const all = (css, root = document) => [...root.querySelectorAll(css)];
  const label = (el) => `${el.tagName.toLowerCase()}.${el.className}`;

  // Colours, as numbers from 0 to 255 and opacity from 0 to 1
  const rgba = (colour) => {
    const n = (colour.match(/[\d.]+/g) || []).map(Number);
    const rgb = n.slice(0, 3).map((x) => (colour.startsWith("color(") ? 255 * x : x));
    return [...rgb, n[3] ?? 1];
  };
  const blend = (top, under) => [0, 1, 2].map((k) => top[3] * top[k] + (1 - top[3]) * under[k]);
  const linear = (x) => (x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    const [r, g, b] = colour.map((x) => linear(x / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const contrast = (one, two) => {
    const [high, low] = [luminance(one), luminance(two)].sort((a, b) => b - a);
    return (high + .05) / (low + .05);
  };
  const background = (el) => {
    if (!el) return [255, 255, 255];
    return blend(rgba(getComputedStyle(el).backgroundColor), background(el.parentElement));
  };
  const opacity = (el) => (el ? +getComputedStyle(el).opacity * opacity(el.parentElement) : 1);

  // Text below WCAG AA: 4.5, or 3 where it is large
  const UNREAD = "script, style, noscript, option, .katex-mathml, " +
    "[aria-hidden=true]:not(.katex-html)";
  const isRead = (el) => el.getBoundingClientRect().width > 1 && !el.closest(UNREAD) &&
    el.checkVisibility({ visibilityProperty: true });
  const isLarge = (style) => {
    const size = parseFloat(style.fontSize);
    return size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
  };
  const textContrast = (el) => {
    const paper = background(el);
    const ink = rgba(getComputedStyle(el).color);
    return contrast(blend([...ink.slice(0, 3), ink[3] * opacity(el)], paper), paper);
  };
  const faint = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const el = walk.currentNode.parentElement;
    const text = walk.currentNode.data.trim();
    if (!text || !isRead(el)) continue;
    const ratio = textContrast(el);
    const least = isLarge(getComputedStyle(el)) ? 3 : 4.5;
    if (ratio >= least - .01) continue;
    faint.add(`${label(el)} "${text.slice(0, 24)}" has ${ratio.toFixed(1)}`);
  }

  // Pictures: those of this site, not the badges of others
  const images = all("main img").filter((i) => !/^https?:/.test(i.getAttribute("src")));
  const name = (img) => img.alt || img.getAttribute("src").slice(0, 40);
  const hasColours = (img) => {
    const canvas = document.createElement("canvas");
    canvas.width = img.naturalWidth;
    canvas.height = img.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(img, 0, 0);
    try {
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      const pixels = new Uint32Array(data.buffer);
      return pixels.some((p) => p !== pixels[0]);
    } catch (e) {
      return true;  // a page on the disk must not read files; the server's visit judges them
    }
  };
  const isShrunk = (i) => i.clientWidth && i.naturalWidth > 1.25 * i.clientWidth;
  const isUnnamed = (i) => !(i.alt || i.getAttribute("aria-label") || "").trim();

  // What reaches out of the window, and cannot be scrolled to
  const scrolls = (el) => el &&
    (/auto|scroll/.test(getComputedStyle(el).overflowX) || scrolls(el.parentElement));
  const isCut = (el) => {
    const box = el.getBoundingClientRect();
    const reachesOut = box.width > 1 && box.right > innerWidth + 1;
    return reachesOut && !el.closest(".katex-mathml, svg") && !scrolls(el.parentElement);
  };
  const isNumbered = (a) => /^[\d\s[\]]+$/.test(a.textContent) && !a.closest(".katex");
  const isClipped = (el) => el.offsetWidth > 1 && el.scrollWidth > el.clientWidth + 1;
  const start = (el) => `${label(el)} "${el.textContent.trim().slice(0, 30)}"`;

  // Formulas and Markdown that are still source
  const MARKUP = /.{0,20}(\$\$|\\begin\{|:::|\\\(|\\\[).{0,20}/g;
  const LINK = /.{0,20}\]\(https?:.{0,20}/g;
  const RAW_LINK = /.{0,20}\]\([\w./:#-]+\).{0,20}/g;
  const words = document.querySelector("main").cloneNode(true);
  all(".katex, .katex-display, pre, code, script, style", words).forEach((e) => e.remove());
  const unrendered = [
    ...all(".katex-error").map((e) => e.textContent),
    ...(words.textContent.match(MARKUP) || []),
    ...(words.textContent.match(RAW_LINK) || []),
    ...all("main pre").flatMap((e) => e.textContent.match(LINK) || []),
  ];

  const page = document.documentElement;
  return {
    faint: [...faint],
    formulas: all(".katex").length,
    unrendered,
    undecoded: images.filter((i) => !i.complete || !i.naturalWidth).map(name),
    blank: images.filter((i) => i.naturalWidth && !hasColours(i)).map(name),
    shrunk: images.filter(isShrunk).map((i) => `${name(i)}: ${i.naturalWidth} as ${i.clientWidth}`),
    unnamed: all("img, svg[role=img], canvas").filter(isUnnamed).map(name),
    links: all("a[href]").map((a) => a.href),
    numbered: all("main a[href]").filter(isNumbered).map((a) => a.href),
    background: getComputedStyle(document.body).backgroundColor,
    clipped: all("main pre > code.sourceCode, main pre:has(> code.sourceCode)").filter(isClipped).map(start),
    cut: all("main *").filter(isCut).map(start),
    wide: page.scrollWidth - page.clientWidth,
    shift: window.layoutShift || 0,
  };
}
