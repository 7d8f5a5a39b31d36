// The metadata of a call on behalf of the caller of another call.

/** Key in the metadata of an envelope, and its value: the `onBehalf` of a WhoIs about the call. */
export const BEHALF_META = 'on_behalf';

/** The call that another one is made for. */
export interface Behalf {
  readonly replyTo: string;
  readonly corrId: string;
}

/** Metadata of a call on behalf of the caller of another one. A flat text, which the sentinel forwards without parsing it. */
export const behalfMeta = ({ replyTo, corrId }: Behalf): Record<string, string> => ({
  [BEHALF_META]: `${replyTo} ${corrId}`,
});
