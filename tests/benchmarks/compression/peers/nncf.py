RECIPES: dict = {}
