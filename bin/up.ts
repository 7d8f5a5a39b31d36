// `fame up`: a sentinel and the chat agent in one process, for a first look and for small machines. They still talk over
// the sentinel's port, exactly as two processes do; the agent ends first, so that its last answers still pass.
import { runAgentProcess } from '@fame-fabric/agents/main';
import { runSentinelProcess } from '@fame-fabric/sentinel/main';

/** Runs until a signal ends both; resolves to the exit code. */
export async function runUp(): Promise<number> {
  let agents: Promise<number> | undefined;
  const sentinelCode = await runSentinelProcess({
    beside: ({ port }) => {
      process.env.FAME_DIRECT_ADMISSION_URL = `ws://127.0.0.1:${port}/fame/v1/attach/ws/downstream`;
      agents = runAgentProcess([]);
      return agents;
    },
  });
  return (await agents) || sentinelCode;
}
