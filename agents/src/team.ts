// Public exports for teams: agents with narrow tasks that are wired by configuration, and ready-made teams.
export type { RemoteCall, RemoteEvent, RemoteRequest } from './handoff/handoff.ts';
export {
  type AbilityContext,
  type AbilityDef,
  type AbilityFn,
  type AbilityModule,
  type AbilityReturn,
  reply,
} from './team/ability.ts';
export { analyzeTeam } from './team/analyze-team.ts';
export { type ChooseOptions, choose } from './team/choose.ts';
export { dedupe } from './team/dedupe.ts';
export type { Interpolations, RunContext } from './team/interpolation.ts';
export { type ListOptions, list } from './team/list.ts';
export { type LoadTeamOptions, loadTeam, readTeam } from './team/load-team.ts';
export { type ModelResolver, Team, type TeamRunOptions, type TeamTurn } from './team/team.ts';
export { TeamAgent, type TeamAgentOptions } from './team/team-agent.ts';
export {
  AgentConfig,
  type AgentConfigT,
  TeamConfig,
  type TeamConfigInput,
  type TeamConfigT,
} from './team/team-config.ts';
export { TeamError } from './team/team-error.ts';
export type { TeamEvent, TeamResult } from './team/team-events.ts';
export type { TeamEdge, TeamGraph } from './team/team-graph.ts';
export {
  type Diagnostic,
  type DiagnosticCode,
  formatDiagnostic,
  TeamConfigError,
} from './yaml/diagnostic.ts';
