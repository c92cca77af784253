// The box beside the pointer.

const tip = document.getElementById("tip");

export function showTip(event, lines) {
  const [first, ...others] = lines;
  const strong = document.createElement("b");
  strong.textContent = first;
  tip.replaceChildren(strong, ...others.map((line) => {
    const row = document.createElement("span");
    row.textContent = line;
    return row;
  }));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const x = event.clientX + 14 + width > innerWidth ? event.clientX - width - 10 : event.clientX + 14;
  const y = event.clientY + 14 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 14;
  tip.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, y)}px)`;
}

export function hideTip() {
  tip.hidden = true;
}
