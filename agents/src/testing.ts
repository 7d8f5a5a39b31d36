// Public exports of the test kit for agent authors: a fabric in memory, scripted models, a fake OpenAI server over real HTTP,
// streams cut at any offset, and a validator of model requests.
export {
  FakeOpenAI,
  type FakeOpenAIOptions,
  type Framing,
  fakeOpenAI,
  httpError,
  type RecordedRequest,
  type ServerReply,
  type WireRequest,
} from './testing/openai-server.ts';
export { allCuts, type Cut, cutAt, everyChars, randomCuts, rechunk, seeded } from './testing/rechunk.ts';
export {
  asReply,
  type ControlledGate,
  callChunks,
  callTools,
  DEFAULT_USAGE,
  failing,
  type Gate,
  gate,
  lastUser,
  pieces,
  reasoning,
  reply,
  type Scripted,
  type ScriptedCall,
  type ScriptReply,
  type ScriptStep,
  stall,
  system,
} from './testing/script.ts';
export {
  ScriptedModel,
  type ScriptedModelOptions,
  type ScriptedRequest,
  scriptedModel,
} from './testing/scripted-model.ts';
export { type TestFabric, testFabric } from './testing/test-fabric.ts';
export { checkTranscript, type Violation } from './testing/transcript-validator.ts';
