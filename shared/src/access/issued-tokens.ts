// Tokens that a node gets from an issuer with the client credentials grant (RFC 6749, 4.4). A token is used until a fifth of its
// life is left; then the next reader requests another one. There is one request at a time.
import { type Clock, systemClock } from '../async/clock.ts';
import { FabricError } from '../errors/error.ts';
import { errorMessage } from '../errors/error-message.ts';
import { isToken } from '../link/transport.ts';
import { redactUrl } from '../text/redact-url.ts';
import { requestIssuer } from './issuer-request.ts';
import type { IssuerSettings } from './issuer-settings.ts';
import { readTokenFile } from './local-key-file.ts';

/** Life of a token whose issuer does not state it, in s. */
const DEFAULT_LIFE_S = 3_600;
const MAX_LIFE_S = 86_400;
/** Share of its life that a token must have left to be used for an attach, and to replace one in use. */
const USABLE_SHARE = 0.2;
const FRESH_SHARE = 0.5;
/** A token of this age was refused although it is new, so that another one would be refused as well. */
const NEW_FOR_MS = 10_000;

interface IssuedToken {
  readonly value: string;
  /** Monotonic, in ms. */
  readonly issuedAt: number;
  readonly lifeMs: number;
}

export interface IssuedTokensDeps {
  readonly clock?: Clock | undefined;
  /** @default an HTTP request */
  readonly request?: typeof requestIssuer | undefined;
}

export class IssuedTokens {
  readonly #settings: IssuerSettings;
  readonly #clock: Clock;
  readonly #request: typeof requestIssuer;
  #current: IssuedToken | undefined;
  #requesting: Promise<IssuedToken> | undefined;

  constructor(
    settings: IssuerSettings,
    { clock = systemClock, request = requestIssuer }: IssuedTokensDeps = {},
  ) {
    this.#settings = settings;
    this.#clock = clock;
    this.#request = request;
  }

  /** The token for an attach. @throws {AUTH_UNAVAILABLE | AUTH_INVALID | CONFIG_INVALID} when the issuer gives none */
  read(): Promise<string> {
    return this.#tokenWith(USABLE_SHARE);
  }

  /** A token that replaces one in use, before that expires. @throws as `read` */
  renew(): Promise<string> {
    return this.#tokenWith(FRESH_SHARE);
  }

  /** Forgets a token that the sentinel refused. Returns false if it was new: then another one would not help. */
  onRefused(): boolean {
    const current = this.#current;
    if (current === undefined || this.#clock.monotonic() - current.issuedAt < NEW_FOR_MS) return false;
    this.#current = undefined;
    return true;
  }

  async #tokenWith(share: number): Promise<string> {
    const current = this.#current;
    if (current !== undefined) {
      const age = this.#clock.monotonic() - current.issuedAt;
      if (age < current.lifeMs * (1 - share)) return current.value;
    }
    this.#requesting ??= this.#issue().finally(() => {
      this.#requesting = undefined;
    });
    this.#current = await this.#requesting;
    return this.#current.value;
  }

  async #issue(): Promise<IssuedToken> {
    const { tokenUrl, clientId, scope, audience } = this.#settings;
    const shown = redactUrl(tokenUrl);
    const form = {
      grant_type: 'client_credentials',
      client_id: clientId,
      client_secret: this.#secret(),
      scope,
      ...(audience === undefined ? {} : { audience }),
    };
    const issuedAt = this.#clock.monotonic();
    let reply: Awaited<ReturnType<typeof requestIssuer>>;
    try {
      reply = await this.#request(tokenUrl, form);
    } catch (cause) {
      throw unavailable(shown, errorMessage(cause), cause);
    }
    const { status, body } = reply;
    const { access_token: value, expires_in: expiresIn, error } = (body ?? {}) as Record<string, unknown>;
    if (status >= 400 && status < 500 && status !== 429) {
      // The rest of the answer may repeat the request.
      const code = typeof error === 'string' && /^[\w.-]{1,64}$/.test(error) ? error : `HTTP ${status}`;
      throw new FabricError(
        'AUTH_INVALID',
        `The token issuer at ${shown} refused this node: ${code}. Check FAME_ADMISSION_CLIENT_ID, FAME_ADMISSION_CLIENT_SECRET and FAME_ADMISSION_TOKEN_SCOPE`,
        { details: { fix: '' } },
      );
    }
    if (status !== 200) throw unavailable(shown, `it answered HTTP ${status}`);
    if (typeof value !== 'string' || !isToken(value))
      throw unavailable(shown, 'its answer has no access_token');
    const lifeS = Number(expiresIn ?? DEFAULT_LIFE_S);
    return { value, issuedAt, lifeMs: 1_000 * (lifeS > 0 ? Math.min(lifeS, MAX_LIFE_S) : DEFAULT_LIFE_S) };
  }

  // Read for each request, so that a replaced file takes effect.
  #secret(): string {
    const { clientSecret, clientSecretFile } = this.#settings;
    if (clientSecretFile === undefined) return clientSecret ?? '';
    try {
      return readTokenFile(clientSecretFile);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new FabricError(
        'CONFIG_INVALID',
        `FAME_ADMISSION_CLIENT_SECRET_FILE cannot be read: ${code ?? message}`,
      );
    }
  }
}

const unavailable = (shown: string, reason: string, cause?: unknown): FabricError =>
  new FabricError(
    'AUTH_UNAVAILABLE',
    `Cannot get a token from ${shown}: ${reason}. Start the issuer, or check FAME_ADMISSION_TOKEN_URL`,
    { cause, details: { fix: '' } },
  );
