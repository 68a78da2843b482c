// The graphs that are measured, for servers of graphs in JavaScript.
// They do what `echo`, `work` and `tokens` of `runloom dev --test-graphs` do.

import { setTimeout as sleep } from "node:timers/promises";

import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, AIMessageChunk } from "@langchain/core/messages";
import { ChatGenerationChunk } from "@langchain/core/outputs";
import { Annotation, messagesStateReducer, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  messages: Annotation({ reducer: messagesStateReducer, default: () => [] }),
  delay: Annotation(),
  count: Annotation(),
  rate: Annotation(),
});

/** What the human said last. */
function asked(state) {
  return state.messages.findLast((message) => message.getType() === "human")?.content ?? "";
}

/** Streams so many tokens, so many in a second. */
class Counting extends BaseChatModel {
  constructor({ count, rate }) {
    super({});
    this.count = count;
    this.rate = rate;
  }

  _llmType() {
    return "counting";
  }

  async _generate() {
    await sleep((1000 * this.count) / this.rate);
    const text = Array.from({ length: this.count }, (_, number) => `t${number} `).join("");
    return { generations: [{ text, message: new AIMessage(text) }] };
  }

  async *_streamResponseChunks(_messages, _options, runManager) {
    let due = performance.now();
    for (let number = 0; number < this.count; number++) {
      due += 1000 / this.rate;
      // A token that is late makes the next ones no later. Timers are no finer than a millisecond.
      const wait = due - performance.now();
      if (wait >= 1) await sleep(wait);
      const text = `t${number} `;
      const chunk = new ChatGenerationChunk({ text, message: new AIMessageChunk(text) });
      yield chunk;
      await runManager?.handleLLMNewToken(text, undefined, undefined, undefined, undefined, { chunk });
    }
  }
}

const nodes = {
  echo: async (state) => ({ messages: [new AIMessage(`echo: ${asked(state)}`)] }),
  work: async (state) => {
    await sleep(1000 * (state.delay ?? 0.4));
    return { messages: [new AIMessage(`work: ${asked(state)}`)] };
  },
  model: async (state) => {
    const model = new Counting({ count: state.count ?? 20, rate: state.rate ?? 50 });
    return { messages: [await model.invoke(state.messages)] };
  },
};

/** A graph of one node. */
const single = (name) => new StateGraph(State).addNode(name, nodes[name]).addEdge(START, name).compile();

export const echo = single("echo");
export const work = single("work");
export const tokens = single("model");
