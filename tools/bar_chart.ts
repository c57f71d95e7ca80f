/**
 * Bars as an SVG image that stands alone: no fonts or scripts of others, readable on light and on dark pages.
 * @module
 */

/** One bar. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  /** Smallest and largest sample: drawn as a line over the bar's end. */
  readonly range?: readonly [least: number, most: number];
  /** The ones that the picture is about. */
  readonly isOurs: boolean;
}

/** Bars of one scale. */
export interface Panel {
  readonly title: string;
  readonly bars: readonly Bar[];
}

/** All in pixels. */
const width = 860, margin = 16, gap = 28, rowHeight = 22, barHeight = 14, titleHeight = 26, headHeight = 52;
const labelWidth = 138, valueWidth = 56;
/** Letters that find room beside a bar; of more the first ones are shown, and all of them are told. */
const mostLetters = 21;

/**
 * @returns the text of an SVG file: panels in two columns, each bar as long as its value is of the panel's
 *   largest
 */
export function barChart(title: string, subtitle: string, panels: readonly Panel[]): string {
  const columnWidth = (width - 2 * margin - gap) / 2;
  const heights = [headHeight, headHeight];
  const drawn = panels.map((panel) => {
    const column = heights[1] < heights[0] ? 1 : 0; // the shorter one
    const x = margin + column * (columnWidth + gap), y = heights[column];
    heights[column] += titleHeight + panel.bars.length * rowHeight + gap;
    return drawPanel(panel, x, y, columnWidth);
  });
  const height = Math.max(...heights) - gap + margin;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escaped(title)}</title>
<desc>${escaped(panels.map(describe).join(" "))}</desc>
<style>${style}</style>
<text class="head" x="${margin}" y="24">${escaped(title)}</text>
<text class="quiet" x="${margin}" y="42">${escaped(subtitle)}</text>
${drawn.join("\n")}
</svg>
`;
}

const style = `
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.head { font-size: 16px; font-weight: 600 }
.title { font-weight: 600 }
.quiet { fill: #59636e }
.value { font-variant-numeric: tabular-nums }
.ours { fill: #0969da }
.other { fill: #afb8c1 }
.range { stroke: #1f2328; stroke-opacity: .55 }
.ourText { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .quiet { fill: #9198a1 }
  .ours { fill: #4493f8 }
  .other { fill: #545d68 }
  .range { stroke: #e6edf3 }
}
`;

function drawPanel({ title, bars }: Panel, x: number, y: number, panelWidth: number): string {
  const room = panelWidth - labelWidth - valueWidth;
  const most = Math.max(...bars.map(({ value, range }) => Math.max(value, range?.[1] ?? 0)));
  const length = (value: number) => Math.round(1000 * value / most * room) / 1000;
  const left = x + labelWidth;
  const rows = bars.map(({ label, value, range, isOurs }, i) => {
    const top = y + titleHeight + i * rowHeight, middle = top + barHeight / 2, base = middle + 4;
    const end = left + Math.max(length(value), length(range?.[1] ?? 0));
    const text = isOurs ? "ourText" : "";
    return [
      `<text class="${text}" x="${left - 8}" y="${base}" text-anchor="end">${
        escaped(shortened(label))
      }</text>`,
      `<rect class="${isOurs ? "ours" : "other"}" x="${left}" y="${top}" width="${length(value)}" ` +
      `height="${barHeight}" rx="2"/>`,
      ...(range && range[1] > range[0]
        ? [
          `<line class="range" x1="${left + length(range[0])}" y1="${middle}" x2="${
            left + length(range[1])
          }" y2="${middle}"/>`,
        ]
        : []),
      `<text class="value ${text}" x="${end + 6}" y="${base}">${numberText(value)}</text>`,
    ].join("\n");
  });
  return `<text class="title" x="${x}" y="${y + 12}">${escaped(title)}</text>\n${rows.join("\n")}`;
}

/** For whoever cannot see it. */
function describe({ title, bars }: Panel): string {
  return `${title}: ${bars.map(({ label, value }) => `${label} ${numberText(value)}`).join(", ")}.`;
}

function shortened(label: string): string {
  const letters = [...label];
  return letters.length > mostLetters ? `${letters.slice(0, mostLetters - 1).join("")}…` : label;
}

/** Three digits, and all of those before the point. */
function numberText(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function escaped(text: string): string {
  const names: Record<string, string> = { "&": "amp", "<": "lt", ">": "gt", '"': "quot" };
  return text.replace(/[&<>"]/g, (letter) => `&${names[letter]};`);
}
