import { ChatAgent, isMain, modelFromEnv, runAgents } from '@fame-fabric/agents';

export const guideAgent = new ChatAgent({
  address: 'guide@fame.fabric',
  systemPrompt: 'You are a guide of the city of Lima.',
  model: modelFromEnv(),
});

if (isMain(import.meta)) process.exitCode = await runAgents([guideAgent]);
