import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

test('the young generation has 8 MB, and does not grow when objects survive', () => {
  const program = `
    const { getHeapSpaceStatistics } = await import('node:v8');
    const youngBytes = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size;
    const { limitYoungGeneration } = await import(${JSON.stringify(new URL('./young-generation.ts', import.meta.url).href)});
    limitYoungGeneration();
    const sizes = [youngBytes()];
    const survivors = Array.from({ length: 300_000 }, () => new Array(16).fill(0.5));
    sizes.push(youngBytes());
    console.log(JSON.stringify(survivors.length > 0 && sizes));
  `;
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  });
  expect(JSON.parse(output)).toEqual([8_388_608, 8_388_608]);
});
