// The ids under which other sentinels may attach as peers: those of FAME_PEER_IDS, and those of the sentinels at FAME_PEER_URLS.
// A URL contains no id. This sentinel learns the id when it attaches there, also from a refusal: two sentinels that have the
// URL of each other refuse the first attach of both.
export class PeerIds {
  readonly #configured: ReadonlySet<string>;
  readonly #byUrl = new Map<string, string>();

  constructor(configured: readonly string[]) {
    this.#configured = new Set(configured);
  }

  has(id: string): boolean {
    if (this.#configured.has(id)) return true;
    for (const learned of this.#byUrl.values()) if (learned === id) return true;
    return false;
  }

  /** Records the id of the sentinel at a URL of FAME_PEER_URLS. */
  learn(url: string, id: string): void {
    this.#byUrl.set(url, id);
  }
}
