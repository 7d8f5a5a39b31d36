// Requests as a browser sends them for a page: with Host, Origin, cookies and Sec-Fetch-Site, which `fetch` does not let a program set.
import { request } from 'node:http';

export interface PageAnswer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
  /** The body as JSON; undefined if it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: a test reads arbitrary answers by path
  readonly body: any;
}

export interface PageRequest {
  /** @default GET */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. @default no body */
  readonly body?: unknown;
}

/** Sends a request to a port of this machine. @default Host is 127.0.0.1 with the port */
export async function send(port: number, path: string, options: PageRequest = {}): Promise<PageAnswer> {
  const { method = 'GET', headers = {}, body } = options;
  const { promise, resolve, reject } = Promise.withResolvers<PageAnswer>();
  const sent = body === undefined ? '' : JSON.stringify(body);
  const outgoing = request(
    {
      port,
      host: '127.0.0.1',
      path,
      method,
      agent: false,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    },
    (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        text += piece;
      });
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode!, headers: response.headers, text, body: parse(text) });
      });
    },
  );
  outgoing.on('error', reject);
  outgoing.end(sent);
  return promise;
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** The cookie that an answer sets, as the header `Cookie` of the next request. */
export const cookieOf = ({ headers }: PageAnswer): string => {
  const [set = ''] = headers['set-cookie'] ?? [];
  return set.split(';')[0]!;
};
