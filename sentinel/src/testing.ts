// The test kit of the sentinel.
export { type EchoServer, type EchoServerOptions, startEchoServer } from './testing/echo-server.ts';
export {
  type MemoryDoorHost,
  type MemoryDoorHostOptions,
  startMemoryDoorHost,
} from './testing/memory-door-host.ts';
export {
  TEST_AUDIENCE,
  type TestClaims,
  TestIssuer,
  type TokenOptions,
} from './testing/test-issuer.ts';
