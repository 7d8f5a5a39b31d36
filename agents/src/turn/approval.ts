// The port between an action that needs the consent of a person and the conversation that asks for it. `conversation/approval/approver.ts`
// implements it: the question and the answer are recorded, and the turn waits between them for as long as it takes.

/** A question to the people of a conversation: may this call run, or may more be spent. */
export interface ApprovalRequest {
  readonly kind: 'tool' | 'budget';
  /** Id for the answer: that of the call, unless the turn has used it before. */
  readonly id: string;
  /** Name of the tool, or `budget`. */
  readonly name: string;
  readonly args?: Readonly<Record<string, unknown>> | undefined;
  readonly step: number;
  /** Place of the call in the reply of its step, or number of the budget question at its step; from 0. */
  readonly index: number;
}

export interface ApprovalAnswer {
  readonly approve: boolean;
  /** Remark of the person, for the model. */
  readonly note?: string | undefined;
}

/** Asks for approval, and counts the calls that run, because a turn with a running call is not idle. */
export interface Approver {
  /** True if the record has the question, so that it is asked even if its function no longer requires it. */
  hasAsked(request: Pick<ApprovalRequest, 'kind' | 'step' | 'index'>): boolean;
  /** Returns the recorded answer, or asks and waits for one. @throws the reason of the turn's signal when it aborts */
  decide(request: ApprovalRequest): Promise<ApprovalAnswer>;
  /** Runs a call. */
  running<T>(work: () => Promise<T>): Promise<T>;
}

/** Longest arguments that a person is asked to approve, in bytes of JSON. Calls with longer ones are refused. */
export const MAX_APPROVABLE_BYTES = 32_768;
