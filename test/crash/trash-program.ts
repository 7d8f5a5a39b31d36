// The program that `trash-crash.test.ts` kills: moves conversations to the trash and back, one after the other, and sweeps. It
// prints a line before it opens the store, which migrates an old file, and after each move.
import { SqliteStore } from '@fame-fabric/agents';

const [path] = process.argv.slice(2) as [string];
process.stdout.write('opening\n');
const store = await SqliteStore.open({ path });
process.stdout.write('opened\n');
for (let round = 0; ; round++) {
  const inTrash = round % 2 === 1;
  const ids = (await store.list({ inTrash, limit: 1_000 })).map(({ id }) => id);
  const moves = ids.map((id) => (inTrash ? store.restore(id) : store.trash(id)));
  for (const move of moves) {
    await move;
    process.stdout.write('moved\n');
  }
  await store.keepTime(1);
  await store.sweep({ expiredBefore: Number.MAX_SAFE_INTEGER, limit: 7 });
}
