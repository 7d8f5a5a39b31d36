// The test kit of the sentinel.
export { type EchoServer, type EchoServerOptions, startEchoServer } from './testing/echo-server.ts';
export {
  TEST_AUDIENCE,
  type TestClaims,
  TestIssuer,
  type TokenOptions,
} from './testing/test-issuer.ts';
