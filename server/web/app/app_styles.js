// The looks of the client's frame: its menu, and the line about a lost connection.

import { css } from "../elements/base/element.js";

export const appStyles = css`
  header {
    position: sticky;
    z-index: 1;
    top: 0;
    border-block-end: 1px solid var(--hm-line, #d5d8df);
    background: var(--hm-paper, #fff);
  }
  nav {
    display: flex;
    box-sizing: border-box;
    flex-wrap: wrap;
    gap: 0 1rem;
    align-items: center;
    max-width: 60rem;
    min-height: 3.5rem;
    margin: 0 auto;
    padding: 0 1rem;
  }
  nav a {
    display: inline-grid;
    align-items: center;
    min-height: 2.75rem;
    color: inherit;
    text-decoration: none;
  }
  nav a[aria-current] {
    box-shadow: 0 2px 0 var(--hm-accent, #4a3fd6);
  }
  nav .brand {
    font-weight: 700;
  }
  nav .calling {
    color: var(--hm-accent, #4a3fd6);
    font-weight: 600;
  }
  nav .calling.low {
    color: var(--hm-warn, #8a4b00);
  }
  nav .user {
    margin-inline-start: auto;
  }
  @media (max-width: 30rem) {
    nav {
      gap: 0 0.5rem;
      font-size: 0.9375rem;
    }
    nav button {
      margin-inline-start: auto;
      padding: 0 0.625rem;
    }
    nav .user {
      position: absolute;
      width: 1px;
      height: 1px;
      overflow: hidden;
      clip-path: inset(50%);
      white-space: nowrap;
    }
  }
  .offline {
    margin: 0;
    padding: 0.5rem 1rem;
    background: var(--hm-warn, #8a4b00);
    color: var(--hm-paper, #fff);
    text-align: center;
  }
  main {
    display: grid;
    gap: 1.5rem;
    box-sizing: border-box;
    max-width: 60rem;
    margin: 0 auto;
    padding: 1rem 1rem 4rem;
  }
`;
