// npm install @naylence/agent-sdk @naylence/runtime
import { BaseAgent, NODE_CONFIG } from '@naylence/agent-sdk';
import { operation } from '@naylence/runtime';

class Greeter extends BaseAgent {
  greet(name: string): string {
    return `Hello, ${name}!`;
  }

  async *count(to: number): AsyncGenerator<number> {
    for (let n = 1; n <= to; n++) yield n;
  }
}

// The decorator as a function, because Node runs TypeScript without decorators. With a compiler write `@operation()` above the method.
const methods = Object.getOwnPropertyDescriptors(Greeter.prototype);
operation()(Greeter.prototype, 'greet', methods.greet);
operation({ streaming: true })(Greeter.prototype, 'count', methods.count);

await new Greeter('greeter').serve('greeter@fame.fabric', { rootConfig: NODE_CONFIG, logLevel: 'info' });
