/** Selects the argument of a call that holds text for the user. */
export interface UserTextOptions {
  /** The argument whose text goes to the user while it arrives; null for none. */
  toUserKey?: string | null | undefined;
  /** Tools that have the argument. Others may have a parameter of their own by that name. @default all tools */
  toUserTools?: ReadonlySet<string> | undefined;
}

/** Returns the argument of a tool that holds text for the user; null if it has none. */
export const userTextKey = (
  { toUserKey = null, toUserTools }: UserTextOptions,
  tool: string,
): string | null => (toUserTools === undefined || toUserTools.has(tool) ? toUserKey : null);
