import { expect, it } from 'vitest';
import * as agents from './index.ts';

it('the public list is what we promise', () => {
  expect(Object.keys(agents).sort()).toEqual([
    'AGENT_VARIABLES',
    'AgentWorker',
    'ChatAgent',
    'ChatTurns',
    'FabricError',
    'MemoryStore',
    'SqliteStore',
    'ToolSet',
    'createSafeFetch',
    'defineAgent',
    'echoAgent',
    'isFabricError',
    'mathAgent',
    'offlineModel',
    'openStore',
    'openaiModel',
    'operation',
    'readAgentConfig',
    'runAgents',
    'taskQueryParams',
    'taskSendParams',
    'tool',
  ]);
});
