// The exports of the doors, for the command. `config.ts` has the names of the doors and loads at once.

export type { Door, DoorDeps, DoorOptions, Refusal } from './door.ts';
export { DEFAULT_DOOR_OPTIONS, openDoors, RunningDoors } from './doors.ts';
export type { AgentCard, AgentOperation, JsonSchema } from './fabric/agent-card.ts';
export type { DoorFabric, Visitor, VisitRequest } from './fabric/door-fabric.ts';
export { type RemoteDoors, type RemoteDoorsOptions, startRemoteDoors } from './remote-doors.ts';
