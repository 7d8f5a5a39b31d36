// Preloaded into a process: the name LOOPBACK_NAME resolves to 127.0.0.1, as an entry of /etc/hosts would have it.
import dns from 'node:dns';

const { lookup } = dns;
dns.lookup = (name, options, callback) =>
  lookup(name === process.env.LOOPBACK_NAME ? '127.0.0.1' : name, options, callback);
