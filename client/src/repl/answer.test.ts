// The status and the reasoning of an answer on a terminal. `repl.test.ts` has the tests of its text.
import { createStyle } from '@fame-fabric/shared/internal';
import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import type { WaitingEvent } from '../turn-event.ts';
import { Answer } from './answer.ts';

/** An answer on a terminal. `shown` has everything that it wrote since the last `clear`. */
function answerOn({ columns = 80, showsReasoning = false, hasColours = false } = {}) {
  const clock = new ManualClock();
  const screen = { shown: '' };
  const write = (text: string): void => {
    screen.shown += text;
  };
  const answer = new Answer({
    write,
    indicator: { write, clock },
    style: createStyle(hasColours),
    prefix: 'A> ',
    columns: () => columns,
    isHeld: false,
    showsReasoning,
  });
  const clear = (): void => {
    screen.shown = '';
  };
  return { answer, clock, screen, clear };
}
const waiting = (more: Partial<WaitingEvent> = {}): WaitingEvent => ({
  type: 'waiting',
  reason: 'rate_limited',
  retry_in_ms: 3_000,
  attempt: 2,
  attempts: 4,
  ...more,
});

describe('the status', () => {
  test('shows that the model thinks, with the seconds, until the text begins', async () => {
    const { answer, clock, screen, clear } = answerOn();
    answer.reason('The user asks');
    await clock.run(12_200, 200);
    expect(screen.shown).toMatch(/\rthinking 12 s \(Ctrl-C stops\)$/);
    expect(screen.shown).not.toContain('The user');
    clear();
    answer.add('Hello');
    expect(screen.shown).toBe('\r\u001b[KA> Hello');
    clear();
    await clock.run(2_000, 200);
    expect(screen.shown).toBe('');
    answer.reason('Now the end');
    await clock.run(200, 200);
    expect(screen.shown).toBe(' thinking 2 s (Ctrl-C stops)');
    clear();
    answer.add('.');
    answer.end('Hello.');
    expect(screen.shown).toBe('\u001b[28D\u001b[K.\n');
    expect(clock.timerCount).toBe(0);
  });

  test('counts the seconds until the request is repeated, then shows the dots again', async () => {
    const { answer, clock, screen, clear } = answerOn();
    answer.wait(waiting());
    await clock.run(160, 160);
    expect(screen.shown).toBe('\rrate limited, again in 3 s (2/4)');
    clear();
    await clock.run(2_720, 160);
    expect(screen.shown).toBe('\rrate limited, again in 2 s (2/4)\rrate limited, again in 1 s (2/4)');
    clear();
    await clock.run(320, 160);
    expect(screen.shown).toMatch(/^\r[· ]{3} 3 s \(Ctrl-C stops\)\u001b\[K/);
    answer.wait(waiting({ reason: 'server_failed', attempt: 3 }));
    await clock.run(160, 160);
    expect(screen.shown).toMatch(/\rthe model server failed, again in 3 s \(3\/4\)$/);
    answer.reason('Hm');
    await clock.run(160, 160);
    expect(screen.shown).toMatch(/\rthinking 3 s \(Ctrl-C stops\)\u001b\[K$/);
    answer.abandon();
    expect(clock.timerCount).toBe(0);
  });

  test('never leaves its row, and shows no control characters of the agent', async () => {
    const { answer, clock, screen } = answerOn({ columns: 20 });
    answer.wait(waiting({ attempt: '\u001b[2J' as unknown as number, reason: '\n' as 'unreachable' }));
    await clock.run(160, 160);
    expect(screen.shown).toBe('\rwaiting, again in 3');
    answer.add('A text of twelve');
    answer.wait(waiting());
    await clock.run(5_000, 160);
    expect(screen.shown).toBe('\rwaiting, again in 3\r\u001b[KA> A text of twelve');
  });

  test('a wait without a duration shows the dots', async () => {
    const { answer, clock, screen } = answerOn();
    answer.wait(waiting({ retry_in_ms: 'soon' as unknown as number }));
    await clock.run(160, 160);
    expect(screen.shown).toBe('\r·  ');
  });
});

describe('the reasoning', () => {
  test('is shown dimmed in rows of its own, before and in the middle of the text', () => {
    const { answer, screen } = answerOn({ showsReasoning: true, hasColours: true });
    for (const piece of ['\n\n  The user', ' asks.\n', '\n']) answer.reason(piece);
    answer.add('Yes, ');
    answer.reason('  \n');
    answer.add('and');
    answer.reason('What else?');
    answer.add(' no.');
    answer.end('Yes, and no.');
    expect(screen.shown.replaceAll('\u001b[32mA> \u001b[39m', 'A> ')).toBe(
      '\u001b[2mThe user\u001b[22m\u001b[2m asks.\u001b[22m\nA> Yes, and\n\u001b[2mWhat else?\u001b[22m\nno.\n',
    );
  });

  test('breaks between words, keeps surrogate pairs whole, and escapes control characters', () => {
    const { answer, screen } = answerOn({ columns: 12, showsReasoning: true });
    for (const piece of ['one two thr', 'ee \ud83d', '\ude00 \u0007']) answer.reason(piece);
    answer.abandon();
    expect(screen.shown).toBe('one two thr\u001b[3D\u001b[K\nthree 😀 ␇\n');
  });

  test('that stalls is followed by the seconds', async () => {
    const { answer, clock, screen, clear } = answerOn({ showsReasoning: true });
    answer.reason('Hm');
    clear();
    await clock.run(4_200, 200);
    expect(screen.shown).toMatch(/^ [· ]{3} 3 s \(Ctrl-C stops\)/);
    clear();
    answer.reason(', well');
    expect(screen.shown).toBe('\u001b[23D\u001b[K, well');
    answer.interrupt(() => {
      screen.shown += '[clock]\n';
    });
    answer.end('');
    expect(screen.shown).toBe('\u001b[23D\u001b[K, well\n[clock]\n');
    expect(clock.timerCount).toBe(0);
  });

  test('is not written while a question is open, nor after the end', () => {
    const { answer, screen } = answerOn({ showsReasoning: true });
    answer.pause();
    answer.reason('hidden');
    answer.resume();
    answer.end('Yes.');
    answer.reason('late');
    expect(screen.shown).toBe('A> Yes.\n');
  });

  test('leaves an answer that goes to a file as it is', () => {
    const written = { answer: '', screen: '' };
    const answer = new Answer({
      write: (text) => {
        written.answer += text;
      },
      indicator: {
        write: (text) => {
          written.screen += text;
        },
        clock: new ManualClock(),
      },
      style: createStyle(false),
      prefix: '',
      isHeld: false,
      showsReasoning: true,
    });
    answer.reason('Before.');
    answer.add('Yes, ');
    answer.reason('Between.');
    answer.add(' and no.');
    answer.end('Yes,  and no.');
    expect(written).toEqual({ answer: 'Yes,  and no.\n', screen: 'Before.\nBetween.\n' });
  });
});
