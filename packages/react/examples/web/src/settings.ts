// The sentinel and the agent of the page, and the questions that it suggests.
export const url = import.meta.env.VITE_FAME_URL ?? 'ws://127.0.0.1:8000/fame/v1/attach/ws/downstream';
export const address = import.meta.env.VITE_FAME_AGENT ?? 'chat@fame.fabric';

export const suggestions = ['What is the weather in Paris?', 'What is 6 times 7?', 'What time is it?'];
