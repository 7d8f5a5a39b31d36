import { fileURLToPath } from 'node:url';
import { isMain, modelFromEnv, runAgents } from '@fame-fabric/agents';
import { loadTeam, TeamAgent } from '@fame-fabric/agents/team';

const FILE = fileURLToPath(new URL('./team.yaml', import.meta.url));

/** All agents of the team use this model. `models` of loadTeam can also choose one by name. */
export const supportTeam = async (model = modelFromEnv()) =>
  new TeamAgent({ team: await loadTeam(FILE, { models: () => model }) });

if (isMain(import.meta)) process.exitCode = await runAgents([await supportTeam()]);
