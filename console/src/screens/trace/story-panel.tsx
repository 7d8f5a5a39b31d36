// The story of one call as a sequence diagram, drawn as SVG, with the same steps as a list for screen readers.
import { useEffect, useRef, useState } from 'preact/hooks';
import { href } from '../../app/router.ts';
import { nameOfPath } from '../../fabric/name-of-path.ts';
import { fabricView, nodesSource } from '../../fabric/nodes.ts';
import { useSource } from '../../fabric/shared-source.ts';
import { traceLog, traceVersion } from '../../fabric/trace.ts';
import { bytesText, countText, durationText } from '../../parts/format.ts';
import { Empty } from '../../parts/notices.tsx';
import { Facts, Panel } from '../../parts/page.tsx';
import { Bytes, Count, Duration, Time } from '../../parts/values.tsx';
import { buildStory, SENTINEL, type Story, type StoryStep } from './story.ts';

export function StoryPanel({ call }: { call: string }) {
  useSource(nodesSource);
  traceVersion.value;
  const { cluster, sentinel } = fabricView.value ?? {};
  const others = [...(cluster?.members ?? []), ...(cluster?.lost ?? [])].map(({ path }) => path);
  const story = buildStory(traceLog.story(call), { own: sentinel?.path, others });
  return (
    <div class="trace-story">
      <Panel
        title="Story of the call"
        actions={
          <a class="button button-quiet" href={href('trace')}>
            Close
          </a>
        }
      >
        {story === undefined ? (
          <Empty title="This call is not in the trace">
            <p>The trace of this page starts when it is opened, and keeps the last 100,000 messages.</p>
          </Empty>
        ) : (
          <>
            <Facts
              facts={{
                Call: <code>{call}</code>,
                Start: <Time t={story.t} />,
                Duration: <Duration ms={story.durationMs} />,
                Messages: <Count value={story.messages} />,
                Size: <Bytes value={story.bytes} />,
              }}
            />
            <Diagram story={story} />
          </>
        )}
      </Panel>
    </div>
  );
}

/** With several sentinels, each has its id. */
const laneNames = ({ lanes }: Story): string[] => {
  const { cluster, sentinel } = fabricView.value ?? {};
  const own = (cluster && sentinel?.id) ?? 'sentinel';
  return lanes.map((path) => (path === SENTINEL ? own : nameOfPath(path)));
};

/** Sizes in px. Lanes share the width of the panel, within these bounds. */
const MIN_LANE = 84;
const MAX_LANE = 260;
const TOP = 46;
const STEP = 44;
/** Width of the times. */
const LEFT = 58;

function Diagram({ story }: { story: Story }) {
  const names = laneNames(story);
  const box = useRef<HTMLElement>(null);
  const [available, setAvailable] = useState(600);
  useEffect(() => {
    const element = box.current!;
    const observer = new ResizeObserver(() => setAvailable(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const lanes = story.lanes.length;
  const laneWidth = Math.max(MIN_LANE, Math.min(MAX_LANE, Math.floor((available - LEFT) / lanes)));
  const width = LEFT + lanes * laneWidth;
  const height = TOP + story.steps.length * STEP + 16;
  const x = (lane: number): number => LEFT + laneWidth / 2 + lane * laneWidth;
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the diagram scrolls, also by the keyboard */}
      <section ref={box} class="story-scroll" tabIndex={0} aria-label="Sequence diagram">
        <svg
          width={width}
          height={height}
          viewBox={`0 0 ${width} ${height}`}
          aria-hidden="true"
          class="story"
        >
          <defs>
            <marker
              id="arrow"
              viewBox="0 0 8 8"
              refX="7"
              refY="4"
              markerWidth="8"
              markerHeight="8"
              orient="auto"
            >
              <path d="M0 0 8 4 0 8z" />
            </marker>
          </defs>
          {names.map((name, lane) => (
            <g key={story.lanes[lane]}>
              <line class="story-lane" x1={x(lane)} x2={x(lane)} y1={TOP - 12} y2={height} />
              <text class="story-name" x={x(lane)} y={20}>
                <title>{story.lanes[lane] || 'sentinel'}</title>
                {cut(name, Math.floor(laneWidth / 7))}
              </text>
            </g>
          ))}
          {story.steps.map((step, index) => (
            <Step key={`${index}-${step.startMs}`} step={step} y={TOP + index * STEP + 26} x={x} />
          ))}
        </svg>
      </section>
      <ol class="hidden-text">
        {story.steps.map((step, index) => (
          <li key={`${index}-${step.startMs}`}>
            {`${names[step.from]} to ${names[step.to]}: ${labelOf(step)}, ${detailOf(step)}, after ${durationText(step.startMs)}`}
          </li>
        ))}
      </ol>
    </>
  );
}

function Step({ step, y, x }: { step: StoryStep; y: number; x: (lane: number) => number }) {
  const [from, at, to] = [x(step.from), x(step.at), x(step.to)];
  const middle = (from + to) / 2;
  const isSelf = from === to;
  return (
    <g class={`story-step story-${step.dir}`}>
      <text class="story-time" x={LEFT - 8} y={y + 4}>
        {durationText(step.startMs)}
      </text>
      {isSelf ? (
        <circle cx={from} cy={y} r={4} />
      ) : (
        <line x1={from} x2={to} y1={y} y2={y} marker-end="url(#arrow)" />
      )}
      {/* The sentinel forwards: its lane lies between most others. */}
      {step.dir === 'forward' && Math.min(from, to) < at && Math.max(from, to) > at && (
        <circle cx={at} cy={y} r={3.5} />
      )}
      <text class="story-label" x={isSelf ? from + 10 : middle} y={y - 7}>
        {labelOf(step)}
      </text>
      <text class="story-detail" x={isSelf ? from + 10 : middle} y={y + 14}>
        {detailOf(step)}
      </text>
    </g>
  );
}

const labelOf = ({ type, code, count }: StoryStep): string =>
  [code ?? type, count > 1 && `× ${countText(count)}`].filter(Boolean).join(' ');

const detailOf = ({ bytes, count, startMs, endMs }: StoryStep): string =>
  [bytesText(bytes), count > 1 && `in ${durationText(endMs - startMs)}`].filter(Boolean).join(' ');

const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`;
