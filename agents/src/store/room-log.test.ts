import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { RoomLog } from './room-log.ts';

test('the reports of ten seconds share one line', () => {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const room = new RoomLog({ log, clock });
  const report = { ended: 1, idle: 2, deleted: 3, bytes: 400 };
  for (let i = 0; i < 100; i++) {
    room.add(report);
    clock.advance(250);
  }
  room.flush();
  expect(log.lines.map(({ fields }) => fields)).toEqual([
    { movedEnded: 1, movedIdle: 2, removed: 3, storeBytes: 400 },
    { movedEnded: 39, movedIdle: 78, removed: 117, storeBytes: 400 },
    { movedEnded: 40, movedIdle: 80, removed: 120, storeBytes: 400 },
    { movedEnded: 20, movedIdle: 40, removed: 60, storeBytes: 400 },
  ]);
  expect(log.messages('warn')).toHaveLength(4);
  clock.advance(60_000);
  expect(clock.timerCount).toBe(0);
});
