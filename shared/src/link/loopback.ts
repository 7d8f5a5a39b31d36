// Hosts of this machine.
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** True if the host of a URL, in its parsed form, is this machine. */
export const isLoopbackHost = (hostname: string): boolean => LOOPBACK.test(hostname);
