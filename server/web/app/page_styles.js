// The looks that the pages of the client share: width, headings, lists of cards, small text.

import { css } from "../elements/base/element.js";

export const pageStyles = css`
  * {
    box-sizing: border-box;
  }
  main {
    max-width: 60rem;
    margin: 0 auto;
    padding: 1rem 1rem 4rem;
  }
  h1 {
    margin: 0.5rem 0 0.25rem;
    font-size: 1.75rem;
    line-height: 1.2;
  }
  h2 {
    margin: 2rem 0 0.75rem;
    font-size: 1.25rem;
  }
  p {
    margin: 0.25rem 0 1rem;
  }
  ul {
    margin: 0;
    padding: 0;
    list-style: none;
  }
  a {
    color: inherit;
  }
  .small {
    font-size: 0.875rem;
  }
`;
