import { describe, expect, it } from 'vitest';
import { attach } from '../testing/attach.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import { Heartbeat } from './heartbeat.ts';

describe('Heartbeat', () => {
  const make = () => {
    const clock = new ManualClock();
    const seen = { beats: [] as number[], silences: [] as number[] };
    const start = clock.monotonic();
    const heartbeat = new Heartbeat(
      {
        clock,
        beat: () => seen.beats.push(clock.monotonic() - start),
        onSilence: (silentMs) => seen.silences.push(silentMs),
      },
      { intervalMs: 15_000, silentAfterMs: 30_000 },
    );
    return { clock, heartbeat, seen };
  };

  it('beats every 15 s and reports a silent peer after 30 s, once', () => {
    const { clock, heartbeat, seen } = make();
    heartbeat.start();
    clock.advance(29_999);
    expect(seen).toEqual({ beats: [15_000], silences: [] });
    clock.advance(100_000);
    expect(seen).toEqual({ beats: [15_000], silences: [30_000] });
    expect(clock.timerCount).toBe(0);
  });

  it('counts any message as a sign of life', () => {
    const { clock, heartbeat, seen } = make();
    heartbeat.start();
    for (let minute = 0; minute < 10; minute++) {
      clock.advance(29_000);
      heartbeat.received();
    }
    expect(seen.silences).toEqual([]);
    clock.advance(30_000);
    expect(seen.silences).toEqual([30_000]);
  });

  it.each([31_000, 3_600_000, -86_400_000, 31 * 86_400_000])(
    'HD11: a step of the wall clock by %i ms is no silence, and hides none',
    (ms) => {
      const { clock, heartbeat, seen } = make();
      heartbeat.start();
      clock.advance(1_000);
      clock.stepWall(ms);
      clock.advance(28_999);
      expect(seen).toEqual({ beats: [15_000], silences: [] });
      clock.advance(1);
      expect(seen.silences).toEqual([30_000]);
    },
  );

  it('needs one timer, and none when stopped', () => {
    const { clock, heartbeat } = make();
    heartbeat.start();
    heartbeat.start();
    expect(clock.timerCount).toBe(1);
    heartbeat.stop();
    expect(clock.timerCount).toBe(0);
  });
});

describe('a link', () => {
  it('sends each NodeHeartbeat with a fresh corrId', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    await attach(sentinel, { clock });
    await clock.run(31_000, 1_000);
    const beats = sentinel.framesOf('NodeHeartbeat');
    expect(beats).toHaveLength(2);
    expect(new Set(beats.map((beat) => beat.corrId)).size).toBe(2);
    expect(sentinel.dials).toBe(1);
  });

  it('c93 is never silent for 20 s, so that a proxy with that limit keeps its connection', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    await attach(sentinel, { clock });
    for (let twenties = 1; twenties <= 5; twenties++) {
      await clock.run(20_000, 1_000);
      expect(sentinel.framesOf('NodeHeartbeat').length).toBeGreaterThanOrEqual(twenties);
    }
    expect(sentinel.dials).toBe(1);
  });

  it('terminates a silent connection and reattaches', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const link = await attach(sentinel, { clock });
    sentinel.intercept = (envelope) => envelope.frame.type !== 'NodeHeartbeat';
    // Without promises in between, so that the time is exact.
    clock.advance(29_999);
    await settle();
    expect(link.state).toBe('attached');
    clock.advance(1);
    await settle();
    expect(link.state).toBe('reconnecting');
    await clock.run(500, 50);
    expect(link.state).toBe('attached');
    expect(sentinel.dials).toBe(2);
  });
});
