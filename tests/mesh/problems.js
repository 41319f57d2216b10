// What keeps somebody from using a page, as far as a browser can tell, by the criteria of WCAG 2.2.
() => {
  const found = [], all = selector => [...document.querySelectorAll(selector)];
  const say = (criterion, node, text) => found.push([criterion, node.outerHTML?.slice(0, 120), text]);
  const seen = node => node.checkVisibility({ contentVisibilityAuto: true }) && node.getClientRects().length > 0;
  const named = node => (node.getAttribute("aria-label") || node.labels?.[0]?.textContent || node.textContent || "").trim();

  if (document.documentElement.lang !== "en") say("3.1.1", document.documentElement, "no language");
  if (!document.title.trim()) say("2.4.2", document.head, "no title");
  if (all("main").length !== 1 || all("h1").length !== 1) say("1.3.1", document.body, "not one main and one h1");
  let level = 0;
  for (const heading of all("h1,h2,h3,h4")) {
    const now = +heading.tagName[1];
    if (now > level + 1) say("1.3.1", heading, "skips a level");
    level = now;
  }
  const ids = all("[id]").map(node => node.id);
  if (new Set(ids).size !== ids.length) say("4.1.2", document.body, "an id twice");
  for (const node of all("[aria-describedby],[aria-labelledby]"))
    for (const id of (node.getAttribute("aria-describedby") || node.getAttribute("aria-labelledby")).split(" "))
      if (!document.getElementById(id)) say("1.3.1", node, "refers to nothing");
  for (const node of all("img")) if (node.alt === undefined || !node.hasAttribute("alt")) say("1.1.1", node, "no alt");
  for (const node of all("a,button,summary,input:not([type=hidden]),select,textarea")) {
    if (!named(node)) say("4.1.2", node, "no name");
    if (node.tabIndex < 0 && seen(node)) say("2.1.1", node, "not for the keyboard");
    if (node.tabIndex > 0) say("2.4.3", node, "out of order");
    const box = node.getBoundingClientRect(), inline = getComputedStyle(node).display === "inline";
    if (seen(node) && !inline && (box.width < 24 || box.height < 24)) say("2.5.8", node, `${box.width} x ${box.height}`);
  }
  for (const node of all("textarea,input:not([type=hidden])"))
    if (node.scrollWidth > node.clientWidth || node.scrollHeight > node.clientHeight + 1) say("1.4.10", node, "is cut off");
  if (document.documentElement.scrollWidth > innerWidth) say("1.4.10", document.body, "scrolls to the side");

  const rgba = text => { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = colour => {
    const [r, g, b] = colour.map(p => (p /= 255) <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = rgba(getComputedStyle(node).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !seen(node) || node.closest("style,option,.unseen")) continue;
    const style = getComputedStyle(node), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
    const pair = [light(rgba(style.color).slice(0, 3)), light(behind(node).slice(0, 3))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < (large ? 3 : 4.5)) say("1.4.3", node, ratio.toFixed(2));
  }
  return found;
}
