// Whether the element that has the focus shows it (WCAG 2.4.7): itself, or what lies over it.
() => {
  const node = document.activeElement, over = node.nextElementSibling;
  const shows = one => one && getComputedStyle(one).outlineStyle !== "none" && parseFloat(getComputedStyle(one).outlineWidth) >= 2;
  return shows(node) || (node.closest(".chip") !== null && shows(over));
}
