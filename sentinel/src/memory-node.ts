// Nodes in the process of their sentinel, with an in-memory transport.
import type { Dial } from '@fame-fabric/shared';
import { memoryDial } from '@fame-fabric/shared';
import { FabricError } from '@fame-fabric/shared/router';
import type { MaybePending } from './access/access.ts';
import type { Admission } from './door/admission.ts';
import { UplinkTransport } from './uplink/uplink-transport.ts';

/** The node is in this process, so `ping` always succeeds. */
export class MemoryNode extends UplinkTransport {
  override ping(): Promise<boolean> {
    return Promise.resolve(true);
  }
}

export interface MemoryNodesDeps {
  admission: Admission;
  /** Name of the nodes in logs. */
  remote: string;
  /** Runs the delivery of each message to a node. @default a microtask */
  schedule?: ((deliver: () => void) => void) | undefined;
}

/** The open connections of nodes in this process. */
export class MemoryNodes {
  readonly #deps: MemoryNodesDeps;
  readonly #open = new Set<MemoryNode>();

  constructor(deps: MemoryNodesDeps) {
    this.#deps = deps;
  }

  /** Returns a dial function. `authenticate` is called for each attach, with the token of the node, and throws to refuse it. */
  dial(authenticate: (token: string | undefined) => MaybePending): Dial {
    const { admission, remote, schedule } = this.#deps;
    return memoryDial((transport, url, token) => {
      if (!admission.isOpen) throw new FabricError('LINK_REFUSED', 'The fabric is closed');
      const authentication = authenticate(token);
      const node = new MemoryNode(transport, remote);
      this.#open.add(node);
      const { onClose } = transport;
      transport.onClose = (code, reason) => {
        this.#open.delete(node);
        onClose?.(code, reason);
      };
      admission.open(node, { origin: 'downstream', systemId: systemIdOf(url), authentication });
    }, schedule);
  }

  closeAll(code: number, reason: string): void {
    for (const node of this.#open) node.close(code, reason);
  }
}

/** The last segment of a link's URL is its system id. */
const systemIdOf = (url: string): string => decodeURIComponent(url.slice(url.lastIndexOf('/') + 1));
