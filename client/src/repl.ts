// The parts of the prompt of `fame chat`: the loop, its inputs, and its files. For Node.
export { chooseConversation } from './repl/choose-conversation.ts';
export { completeCommand } from './repl/commands.ts';
export { HistoryFile } from './repl/history-file.ts';
export { MessageInput } from './repl/message-input.ts';
export { PipedInput } from './repl/piped-input.ts';
export { readMessages } from './repl/read-messages.ts';
export { Repl, type ReplConversation, type ReplDeps, type ReplOptions } from './repl/repl.ts';
export type { ReplInput } from './repl/repl-input.ts';
export { type SavedConversation, SavedConversations } from './repl/saved-conversations.ts';
export { TerminalInput } from './repl/terminal-input.ts';
