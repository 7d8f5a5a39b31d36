import { expect, test } from 'vitest';
import { attachCommand } from './attach-command.ts';

const ATTACH = 'fame/v1/attach/ws/downstream npx fame-fabric agent';

test.each([
  ['http://localhost:8000/console/', 'npx fame-fabric agent'],
  ['http://127.0.0.1:8123/console/', 'FAME_LISTENER_PORT=8123 npx fame-fabric agent'],
  ['http://127.0.0.1/console/', 'FAME_LISTENER_PORT=80 npx fame-fabric agent'],
  ['https://fabric.example/console/', `FAME_DIRECT_ADMISSION_URL=wss://fabric.example/${ATTACH}`],
  ['http://10.0.0.5:8000/console/', `FAME_DIRECT_ADMISSION_URL=ws://10.0.0.5:8000/${ATTACH}`],
])('the command for the page %s is %s', (url, command) => {
  expect(attachCommand(new URL(url))).toBe(command);
});
