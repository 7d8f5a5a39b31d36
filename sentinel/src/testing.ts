// The test kit of the sentinel.
export { type EchoServer, type EchoServerOptions, startEchoServer } from './testing/echo-server.ts';
