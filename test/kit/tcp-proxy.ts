// A TCP proxy on loopback between two processes of a test. It can hold back bytes, and cut connections as a bad network does.
// It does not interpret the protocol.
import { createServer, connect as dial, type Server, type Socket } from 'node:net';

/** `up`: from the side that dialed to the target. `down`: from the target. */
export type Direction = 'up' | 'down';

class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  #held: Buffer[] | undefined;

  constructor(from: Socket, to: Socket, isHeld: boolean) {
    this.#from = from;
    this.#to = to;
    if (isHeld) this.#held = [];
    from.on('data', (bytes: Buffer) => this.#pass(bytes));
  }

  get held(): Buffer {
    return Buffer.concat(this.#held ?? []);
  }

  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const bytes of held) this.#pass(bytes);
  }

  #pass(bytes: Buffer): void {
    if (this.#held) this.#held.push(bytes);
    else if (!this.#to.destroyed && !this.#to.write(bytes)) {
      this.#from.pause();
      this.#to.once('drain', () => this.#from.resume());
    }
  }
}

class Connection {
  readonly #near: Socket;
  readonly #far: Socket;
  readonly pipes: Readonly<Record<Direction, Pipe>>;

  constructor(near: Socket, far: Socket, held: ReadonlySet<Direction>, onClose: () => void) {
    this.#near = near;
    this.#far = far;
    this.pipes = {
      up: new Pipe(near, far, held.has('up')),
      down: new Pipe(far, near, held.has('down')),
    };
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      socket.setNoDelay(true);
      // The processes report the error; the proxy only closes the other half.
      socket.on('error', () => {});
      socket.on('close', () => {
        other.destroy();
        onClose();
      });
    }
  }

  /** Ends the connection as a network does: no closing handshake, a reset for both ends. */
  cut(): void {
    for (const socket of [this.#near, this.#far]) {
      if (!socket.destroyed) socket.resetAndDestroy();
    }
  }
}

export class TcpProxy {
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #held = new Set<Direction>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens on a free port and forwards every connection to `port`. */
  static async to(port: number): Promise<TcpProxy> {
    const server = createServer({ noDelay: true });
    const proxy = new TcpProxy(server);
    server.on('connection', (near) => {
      const connection: Connection = new Connection(near, dial(port, '127.0.0.1'), proxy.#held, () =>
        proxy.#connections.delete(connection),
      );
      proxy.#connections.add(connection);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Connections that are open now. */
  get size(): number {
    return this.#connections.size;
  }

  /** Holds back all bytes in this direction until `release`, on present and later connections. */
  hold(direction: Direction): void {
    this.#held.add(direction);
    for (const { pipes } of this.#connections) pipes[direction].hold();
  }

  /** Forwards the bytes that were held back, and stops holding. */
  release(direction: Direction): void {
    this.#held.delete(direction);
    for (const { pipes } of this.#connections) pipes[direction].release();
  }

  /** Bytes that are held back in this direction. */
  held(direction: Direction): Buffer {
    return Buffer.concat([...this.#connections].map(({ pipes }) => pipes[direction].held));
  }

  /** Cuts every connection, or those whose index `isChosen` accepts. Returns their count. */
  cut(isChosen: (index: number) => boolean = () => true): number {
    const cut = [...this.#connections].filter((_, index) => isChosen(index));
    for (const connection of cut) connection.cut();
    return cut.length;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
