// The form of an envelope for traces, which are logged and displayed.
import type { Envelope } from '../protocol/envelope.ts';

const SECRET = '(secret)';

/** Replaces the tokens of an attach. Other envelopes are returned as they are. */
export function withoutSecrets(envelope: Envelope): Envelope {
  const { frame } = envelope;
  if (frame.type !== 'NodeAttach' && frame.type !== 'NodeAttachAck') return envelope;
  const { resumeToken, authorization } = frame as { resumeToken?: string; authorization?: string };
  if (resumeToken === undefined && authorization === undefined) return envelope;
  return {
    ...envelope,
    frame: {
      ...frame,
      ...(resumeToken === undefined ? {} : { resumeToken: SECRET }),
      ...(authorization === undefined ? {} : { authorization: SECRET }),
    },
  };
}
