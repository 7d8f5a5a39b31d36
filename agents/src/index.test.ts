import { expect, it } from 'vitest';
import * as agents from './index.ts';

it('the public list is what we promise', () => {
  expect(Object.keys(agents).sort()).toEqual([
    'AGENT_VARIABLES',
    'AgentWorker',
    'ChatAgent',
    'FabricError',
    'createSafeFetch',
    'defineAgent',
    'echoAgent',
    'isFabricError',
    'mathAgent',
    'offlineModel',
    'openaiModel',
    'operation',
    'readAgentConfig',
    'runAgents',
    'taskQueryParams',
    'taskSendParams',
  ]);
});
