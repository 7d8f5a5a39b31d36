// The client library for Node: `connect` over the ws package.
import {
  checkNaylenceVariables,
  leastTrustedUrl,
  readAdmissionUrls,
  readClientCertificate,
  readEnv,
  readTokenSettings,
} from '@fame-fabric/shared/internal';
import {
  AdmissionToken,
  type NodeSecurityProfile,
  openLinkSignatures,
  readNodeSecurityProfile,
  sidOf,
  wsDial,
  wsDialWith,
} from '@fame-fabric/shared/node';
import { type Client, connectWith } from './client.ts';
import type { ConnectOptions } from './index.ts';

/** Without `url`, the environment selects the sentinel and the security profile. */
export interface NodeConnectOptions
  extends Omit<ConnectOptions, 'url'>,
    Partial<Pick<ConnectOptions, 'url'>> {
  /**
   * With `overlay`, the messages of this client are signed, and those of others must be. The sentinel needs the same profile.
   * @default open; without `url` that of FAME_SECURITY_PROFILE
   */
  securityProfile?: NodeSecurityProfile | undefined;
}

/**
 * Attaches to the sentinel at `url`, such as `ws://127.0.0.1:8000/fame/v1/attach/ws/downstream`. Without `url`, it attaches as agents
 * do: to the sentinel of FAME_DIRECT_ADMISSION_URL, or of FAME_LISTENER_HOST and FAME_LISTENER_PORT, with the token of the environment
 * or the local key.
 * @throws {CONFIG_INVALID} if these variables have a fault; {LINK_TIMEOUT} if the sentinel cannot be reached within `connectTimeoutMs`;
 *   {LINK_REFUSED} if it refuses the node; {AUTH_MISSING | AUTH_INVALID | AUTH_FORBIDDEN} if that is because of its key
 */
export async function connect({
  url,
  securityProfile,
  ...options
}: NodeConnectOptions = {}): Promise<Client> {
  if (url !== undefined) {
    const signatures = await openLinkSignatures(securityProfile);
    return connectWith({ dial: wsDial, sidOf, signatures, ...options, url });
  }
  const { env } = process;
  const found = readEnv(env, (reader) => {
    checkNaylenceVariables(reader);
    return {
      urls: readAdmissionUrls(reader),
      token: readTokenSettings(reader),
      certificate: readClientCertificate(reader),
      profile: readNodeSecurityProfile(reader),
    };
  });
  const signatures = await openLinkSignatures(securityProfile ?? found.profile);
  const token = new AdmissionToken(leastTrustedUrl(found.urls), found.token, (message) =>
    options.log?.warn(message),
  );
  try {
    return await connectWith({
      dial: wsDialWith(found.certificate),
      sidOf,
      token,
      signatures,
      ...options,
      ...found.urls,
    });
  } catch (error) {
    throw options.token === undefined ? token.explain(error) : error;
  }
}
