// A chart of lines over time. The only file that imports uPlot.
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import './chart.css';

export interface ChartProps {
  title: string;
  /** Description for screen readers. */
  summary: string;
  /** Seconds since the epoch, ascending. */
  times: readonly number[];
  /** One value a time; null where there is none. Five lines at most have colours of their own. */
  lines: readonly { readonly label: string; readonly values: readonly (number | null)[] }[];
  /** Text of a value, on the axis and in the legend. */
  valueText: (value: number | null) => string;
  /** True for bytes, whose axis has steps of powers of two. @default false */
  isBinary?: boolean;
  /** Charts with the same name show the same time under the pointer. */
  syncKey?: string;
}

const HEIGHT = 150;
/** Width of the axis with the values. */
const AXIS_WIDTH = 74;
/** Least time that a chart spans, in seconds. */
const LEAST_SPAN = 60;
/** Rows of the table of values. */
const TABLE_ROWS = 12;
const COLOURS = 5;
const BINARY_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);

export function Chart(props: ChartProps) {
  const { title, summary, lines, times, valueText } = props;
  const id = useId();
  const { box, figure, index } = usePlot(props);
  const [isOpen, setOpen] = useState(false);
  const at = index ?? lastIndex(lines);
  return (
    <figure class="chart" ref={figure} aria-labelledby={id}>
      <figcaption class="chart-head">
        <h3 id={id}>{title}</h3>
        <ul class="chart-legend">
          {lines.map(({ label, values }, line) => (
            <li key={label}>
              <span class={`chart-swatch chart-line-${(line % COLOURS) + 1}`} aria-hidden="true" />
              {label} <strong>{valueText(values[at] ?? null)}</strong>
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={box} class="chart-plot" role="img" aria-label={summary} />
      <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>Values</summary>
        {isOpen && <Values times={times} lines={lines} valueText={valueText} title={title} />}
      </details>
    </figure>
  );
}

function Values({
  times,
  lines,
  valueText,
  title,
}: Pick<ChartProps, 'times' | 'lines' | 'valueText' | 'title'>) {
  const first = Math.max(0, times.length - TABLE_ROWS);
  return (
    <table class="chart-values">
      <caption class="hidden-text">{title}, newest first</caption>
      <thead>
        <tr>
          <th scope="col">Time</th>
          {lines.map(({ label }) => (
            <th key={label} scope="col" class="number">
              {label}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {times
          .slice(first)
          .map((time, row) => (
            <tr key={time}>
              <td>{clockText(time)}</td>
              {lines.map(({ label, values }) => (
                <td key={label} class="number">
                  {valueText(values[first + row] ?? null)}
                </td>
              ))}
            </tr>
          ))
          .reverse()}
      </tbody>
    </table>
  );
}

/** Index of the last time at which a line has a value. */
const lastIndex = (lines: ChartProps['lines']): number =>
  Math.max(0, ...lines.map(({ values }) => values.findLastIndex((value) => value !== null)));

/** Draws the lines into `box`; returns the index of the time under the pointer. */
function usePlot({ times, lines, valueText, isBinary = false, syncKey }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const figure = useRef<HTMLElement>(null);
  const plot = useRef<uPlot>(undefined);
  const text = useRef(valueText);
  text.current = valueText;
  const [index, setIndex] = useState<number>();
  const labels = lines.map(({ label }) => label).join('\n');
  const data = [times, ...lines.map(({ values }) => values)] as uPlot.AlignedData;

  // New data of the same lines is set by the effect below.
  useEffect(() => {
    const element = box.current!;
    const colourOf = (selector: string): string =>
      getComputedStyle(figure.current!.querySelector(selector) ?? figure.current!).color;
    const axis = {
      stroke: () => colourOf('.chart-plot'),
      grid: { stroke: () => getComputedStyle(figure.current!).borderTopColor, width: 1 },
      ticks: { show: false },
      font: `12px ${getComputedStyle(element).fontFamily}`,
    };
    const drawn = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: {
          drag: { x: false, y: false },
          y: false,
          ...(syncKey !== undefined && { sync: { key: syncKey, setSeries: false } }),
        },
        scales: {
          x: { time: true, range: (_plot, min, max) => [Math.min(min, max - LEAST_SPAN), max] },
          y: { range: yRange },
        },
        axes: [
          { ...axis, values: (_plot, splits) => splits.map(clockText), space: 76, size: 26 },
          {
            ...axis,
            size: AXIS_WIDTH,
            space: 28,
            ...(isBinary && { incrs: BINARY_STEPS }),
            values: (_plot, splits) => splits.map((value) => text.current(value)),
          },
        ],
        series: [
          {},
          ...labels.split('\n').map((_label, line) => ({
            stroke: () => colourOf(`.chart-line-${(line % COLOURS) + 1}`),
            width: 1.75,
            points: { show: false },
            spanGaps: false,
          })),
        ],
        hooks: { setCursor: [({ cursor }) => setIndex(cursor.idx ?? undefined)] },
      },
      data,
      element,
    );
    plot.current = drawn;
    const size = new ResizeObserver(([entry]) =>
      drawn.setSize({ width: Math.floor(entry!.contentRect.width), height: HEIGHT }),
    );
    size.observe(element);
    // The canvas does not follow the properties of the theme by itself.
    const redraw = (): void => drawn.redraw();
    const theme = new MutationObserver(redraw);
    theme.observe(document.documentElement, { attributeFilter: ['data-theme'] });
    const system = matchMedia('(prefers-color-scheme: dark)');
    system.addEventListener('change', redraw);
    return () => {
      size.disconnect();
      theme.disconnect();
      system.removeEventListener('change', redraw);
      drawn.destroy();
    };
  }, [labels, syncKey, isBinary]);

  useEffect(() => plot.current?.setData(data), [times, lines]);
  return { box, figure, index };
}

/** From zero to a little above the highest value. */
const yRange = (_plot: uPlot, _min: number, max: number | null): uPlot.Range.MinMax => [
  0,
  max !== null && max > 0 ? max * 1.1 : 1,
];

/** Local time of day of `time`, in seconds since the epoch. */
function clockText(time: number): string {
  const date = new Date(time * 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
