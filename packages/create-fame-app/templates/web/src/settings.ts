// The sentinel and the agent of the page, and the questions that it suggests.
export const url = import.meta.env.VITE_FAME_URL ?? 'ws://127.0.0.1:8000/fame/v1/attach/ws/downstream';
export const address = import.meta.env.VITE_FAME_AGENT ?? 'shop@fame.fabric';

export const suggestions = ['Where is my order 1042?', 'What can you do?', 'What is 6 times 7?'];
