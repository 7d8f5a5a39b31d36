import { attachCommand } from '../../fabric/attach-command.ts';
import { Code } from '../../parts/code.tsx';
import { Empty } from '../../parts/notices.tsx';

/** Shown while no attached node serves an address. */
export const NoAgent = () => (
  <Empty title="No agent is attached">
    <p>Type this line in a terminal. It starts the chat agent, which appears above as soon as it attaches:</p>
    <Code text={attachCommand(location)} label="Command" />
    <p>
      It answers without an API key: a small offline model is built in. For a real model, put{' '}
      <code>OPENAI_API_KEY=…</code> before the command.
    </p>
  </Empty>
);
