// Rules that decide which calls of a function need the approval of a person.

/**
 * Selects the calls that need the approval of a person: all calls, or those for whose arguments the function returns true.
 * If it throws, the call needs approval. The turn waits until `answer_approval` is called, for days if necessary.
 */
export type ApprovalRule<Args = unknown> = 'always' | ((args: Args) => boolean);

/** Applies a rule. `onError` receives what the rule throws. */
export function needsApproval<Args>(
  rule: ApprovalRule<Args> | undefined,
  args: Args,
  onError: (error: unknown) => void,
): boolean {
  if (rule === undefined || rule === 'always') return rule === 'always';
  try {
    return rule(args);
  } catch (error) {
    onError(error);
    return true;
  }
}
